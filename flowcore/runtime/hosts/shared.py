"""What a host does because others may share its bus: its place among them, and nodes that pass from one to another.

`Ground` and `Host` ask this; of the parts (presence, placed flows, holds, parcels, members, notices) each is about one
thing on the bus.
"""

from collections.abc import Callable, Collection, Iterable, Mapping

from flowcore.bus.connection import Connection
from flowcore.flow.model import MAIN_HOST
from flowcore.flow.placement import is_spread
from flowcore.flow.resolved import ResolvedFlow
from flowcore.flow.types import NodeTypeInfo
from flowcore.runtime.handover import Handovers
from flowcore.runtime.hosts.holds import Holds
from flowcore.runtime.hosts.members import Members
from flowcore.runtime.hosts.notices import Notices, WireNotice
from flowcore.runtime.hosts.parcels import Parcels
from flowcore.runtime.hosts.placed import PlacedFlows
from flowcore.runtime.hosts.presence import Heard, Presence
from flowcore.runtime.incarnation import Incarnations

Described = Callable[[], tuple[Mapping[str, NodeTypeInfo], Iterable[str]]]


class SharedBus:
    """See the module. `host` is "" for the main host.

    Args:
        described: the node types of this host and the names of its secrets.
        on_notice, on_question: as `Notices`.
    """

    def __init__(
        self,
        connection: Connection,
        host: str,
        incarnations: Incarnations,
        handovers: Handovers,
        described: Described,
        heard: Heard,
        on_notice: Callable[[WireNotice], None],
        on_question: Callable[[str, str], None],
    ) -> None:
        self.host = host
        self.presence = Presence(connection, host or MAIN_HOST, described, heard)
        self.members = Members(connection, self.presence)
        self.placed = PlacedFlows(connection)
        self.notices = Notices(connection, host or MAIN_HOST, on_notice, on_question)
        self._holds, self._parcels = Holds(connection, self.presence), Parcels(connection)
        self._incarnations, self._handovers = incarnations, handovers

    async def start(self) -> None:
        """Take the name and be there. Only what needs no other host may have been done before.

        Raises:
            NameTaken: another host of this name runs. BucketError, TimeoutError
        """
        await self.presence.take_name()
        await self._incarnations.renew()
        await self._holds.start()
        if not self.host:
            await self.placed.start()
        await self.notices.start()
        await self.presence.start()

    # What others have

    def types(self, own: Mapping[str, NodeTypeInfo]) -> dict[str, NodeTypeInfo]:
        """The node types of all hosts; where several have one, ours, unless it lacks a library here, or is not run."""
        found: dict[str, NodeTypeInfo] = {}
        for types in (own, *(seen.types for seen in self.presence.others.values())):
            for name, info in types.items():
                if name not in found or (not found[name].can_run and info.can_run):
                    found[name] = info
        return found

    def types_by_host(self, own: Mapping[str, NodeTypeInfo]) -> dict[str, Mapping[str, NodeTypeInfo]]:
        """Host ("": the main one) -> its node types, of those that said so."""
        return {self.host: own} | {name: seen.types for name, seen in self.presence.others.items() if seen.types}

    def secrets(self) -> set[str]:
        """The names of the other hosts' secrets."""
        return {name for seen in self.presence.others.values() for name in seen.secrets}

    # Nodes that come and go. `flowrun` says when

    def is_shared(self, flow: str) -> bool:
        """Whether other hosts run, or ever ran, nodes of this flow."""
        return bool(self.host) or self.placed.is_shared(flow)

    async def place(self, flow: str, whole: ResolvedFlow | None, running: Collection[str]) -> None:
        """Let the others know what a flow is now.

        Args:
            running: its processes here. Others have to see them before they may see that one of them is theirs now.
        Raises:
            BucketError, TimeoutError
        """
        if self.host or not (is_spread(whole) or self.placed.is_shared(flow)):
            return
        await self._holds.hold(flow, running)
        await self.placed.put(flow, whole)

    async def arrive(self, flow: str, processes: Collection[str], starting: Collection[str]) -> dict[str, str]:
        """`processes` are to be here, `starting` of them are new here: fetch what was left for those that are free.

        Returns:
            Process -> host, for those that another host still holds: `cleared` waits for that.
        Raises:
            BucketError, TimeoutError
        """
        await self._holds.hold(flow, processes)
        if not starting:
            return {}
        held = await self._holds.held_elsewhere(flow, starting)
        free = [process for process in starting if process not in held]
        left = await self._holds.left_elsewhere(flow, free)
        await self._incarnations.renew(max(left.values(), default=0))
        for process in await self._parcels.waiting(flow, free):
            await self._take_parcel(flow, process)
        return held

    async def cleared(self, flow: str, process: str) -> int:
        """Wait until no other host holds a process, and fetch what was left for it.

        Returns:
            Only a higher incarnation may go.
        """
        was_let_go = await self._holds.until_free(flow, process)
        left = (await self._holds.left_elsewhere(flow, [process])).get(process, 0)
        # Of a host that is gone, or died, nobody knows what the process had last: only new numbers are above.
        least = left if was_let_go and left else self._incarnations.last
        if least >= self._incarnations.last:
            await self._incarnations.renew(least)
        if await self._parcels.waiting(flow, [process]):
            await self._take_parcel(flow, process)
        return least

    async def let_go(self, flow: str, keep: Collection[str], ended: Mapping[str, int]) -> None:
        """Only `keep` of a flow's processes is here now; what the others left goes to whoever runs them next.

        Args:
            ended: process -> the last incarnation it had here.
        Raises:
            BucketError, TimeoutError: not all is said; call it again.
        """
        for process in self._handovers.kept(flow):
            handover = self._handovers.read(flow, process) if process not in keep else None
            if handover is not None:
                await self._parcels.send(flow, process, handover)
                self._handovers.forget(flow, process)
        await self._holds.let_go(flow, keep, ended)

    async def _take_parcel(self, flow: str, process: str) -> None:
        handover = await self._parcels.read(flow, process)
        if handover is not None:
            self._handovers.keep(flow, process, handover)
            await self._parcels.forget(flow, process)
