"""What is done to flows and nodes while they run: what should be, which is kept, and what happens now and only now.

Of a node that is placed on another host the member there is asked.
"""

import asyncio
from dataclasses import replace
from typing import Any

from flowcore.bus.envelope import unpack
from flowcore.bus.jsonable import from_jsonable, jsonable
from flowcore.flow.types import HIDDEN_PORTS
from flowcore.runtime.flowrun import FlowRun
from flowcore.runtime.flowstore import FlowStore
from flowcore.runtime.ground import Ground
from flowcore.runtime.hosts.elsewhere import Elsewhere
from flowcore.runtime.hosts.shared import SharedBus
from flowcore.runtime.link import LinkClosed, RequestFailed
from flowcore.runtime.patience import SETTLE_TIMEOUT_S, in_time, on_bus
from flowcore.runtime.plans import EVERY_NODE
from flowcore.runtime.process import StartFailed
from flowcore.runtime.reconcile import Reconciler
from flowcore.runtime.results import DeployResult, HostError, UnknownNode
from flowcore.runtime.supervise import Supervised

_RESTART_TIMEOUT_S = 120.0


class Steering:
    """Every method raises UnknownFlow and UnknownNode for what is not there, and HostError for what can't be done.

    Those that wait for the bus or for a flow to settle raise TimeoutError.
    """

    def __init__(
        self,
        store: FlowStore,
        reconciler: Reconciler,
        elsewhere: Elsewhere,
        shared: SharedBus,
        ground: Ground,
        drain_s: float,
    ) -> None:
        self._store, self._reconciler, self._elsewhere = store, reconciler, elsewhere
        self._members, self._ground, self._drain_s = shared.members, ground, drain_s

    # What should run: kept in `desired`, so it survives restarts of the host

    async def start_flow(self, flow: str) -> DeployResult:
        """Run a stopped flow again."""
        return await self._desire(flow, running=True)

    async def stop_flow(self, flow: str) -> DeployResult:
        """Stop all processes of a flow, upstream first; the document stays."""
        await self._elsewhere.quiet(flow, self._drain_s)
        return await self._desire(flow, running=False)

    async def pause(self, flow: str, node: str | None = None) -> None:
        """Handle nothing more: queues fill and push back. None: every node of the flow."""
        await self.begun(flow)
        paused = self._store.wish(flow).paused
        name = EVERY_NODE if node is None else self._node(flow, node)
        await self._desire(flow, paused=(EVERY_NODE,) if name == EVERY_NODE else tuple(dict.fromkeys((*paused, name))))

    async def resume(self, flow: str, node: str | None = None) -> None:
        """Undo `pause`."""
        await self.begun(flow)
        paused = self._store.wish(flow).paused
        if node is not None:
            name = self._node(flow, node)
            everyone = self._run(flow).whole
            paused = tuple(everyone.nodes) if EVERY_NODE in paused and everyone else paused
            paused = tuple(one for one in paused if one != name)
        await self._desire(flow, paused=paused if node is not None else ())

    async def bypass(self, flow: str, node: str, on: bool = True) -> None:
        """Send input on to the first output of a fitting type, without the node's handler."""
        await self.begun(flow)
        name = self._node(flow, node)
        others = tuple(one for one in self._store.wish(flow).bypassed if one != name)
        await self._desire(flow, bypassed=(*others, name) if on else others)

    # Now, and only now

    async def restart(self, flow: str, node: str | None = None) -> None:
        """Replace the processes of a node (None: of all) without loss; a failed node is started anew.

        Raises:
            HostError: a new process did not get ready; an old one that ran goes on.
        """
        await self.begun(flow)
        run = self._run(flow)
        if node is not None and (host := self._elsewhere.host_of(flow, node)):
            await self._members.ask(host, "restart", timeout=_RESTART_TIMEOUT_S, flow=flow, node=node)
            return
        there = [
            self._members.ask(host, "restart", timeout=_RESTART_TIMEOUT_S, flow=flow)
            for host in (self._elsewhere.hosts_of(flow) if node is None else ())
        ]
        elsewhere = asyncio.gather(*there, return_exceptions=True)
        async with run.turn:
            chosen = list(run.processes.values()) if node is None else self._all_of(flow, node)
            failures = await asyncio.gather(*(self._restart(run, one) for one in chosen))
        errors = [error for error in failures if error]
        errors += [str(one) for one in await elsewhere if isinstance(one, Exception)]
        if errors:
            raise HostError("; ".join(errors))

    async def _restart(self, run: FlowRun, one: Supervised) -> str | None:
        plan = await run.late.take(one.plan.process)  # one that is slow to start begins anew
        try:
            async with self._ground.starts:
                await one.restart(plan)
        except StartFailed as e:
            if one.pid is None:
                await one.start_later(e, plan or one.plan)
            return f"{one.plan.flow}.{one.plan.process} did not start: {e.error}"
        return None

    async def kill(self, flow: str, node: str) -> list[int]:
        """SIGKILL a node's processes, as a crash would; the supervisor restarts them. Returns the pids."""
        await self.begun(flow)
        if host := self._elsewhere.host_of(flow, node):
            return list((await self._members.ask(host, "kill", flow=flow, node=node))["pids"])
        pids = [one.kill("killed on request") for one in self._all_of(flow, node)]
        return [pid for pid in pids if pid is not None]

    async def inject(self, flow: str, node: str, port: str | None = None, payload: Any = None, topic: str = "") -> None:
        """Put a message into a node's input (port None: its first), or press the button of a source."""
        await self.begun(flow)
        if host := self._elsewhere.host_of(flow, node):
            request = {"flow": flow, "node": node, "port": port, "payload": jsonable(payload), "topic": topic}
            await self._members.ask(host, "inject", **request)
            return
        one = self._one_of(flow, node)
        if port is not None and port not in one.plan.inputs:
            raise HostError(f"node {node!r} has no input {port!r} (it has: {', '.join(one.plan.inputs) or 'none'})")
        answer = await self._ask(one, "inject", "injected", port=port, payload=payload, topic=topic)
        if answer.get("error"):
            raise HostError(str(answer["error"]))

    async def last(self, flow: str, node: str, port: str | None = None) -> dict[str, Any] | None:
        """The newest envelope of an output port (None: its first), None when it has sent nothing yet."""
        await self.begun(flow)
        if host := self._elsewhere.host_of(flow, node):
            answer = await self._members.ask(host, "last", flow=flow, node=node, port=port)
            return from_jsonable(answer["message"])
        one = self._one_of(flow, node)
        known = (*one.plan.outputs, *HIDDEN_PORTS)
        if port is not None and port not in known:
            raise HostError(f"node {node!r} has no output {port!r} (it has: {', '.join(one.plan.outputs) or 'none'})")
        envelope = (await self._ask(one, "last?", "last", port=port)).get("envelope")
        return unpack(envelope) if isinstance(envelope, bytes) else envelope

    async def _ask(self, one: Supervised, op: str, answer: str, **fields: Any) -> dict[str, Any]:
        try:
            return await one.request(op, answer, **fields)
        except RequestFailed as e:
            raise HostError(str(e)) from None
        except (LinkClosed, TimeoutError):
            where = f"node {one.plan.process!r} of flow {one.plan.flow!r}"
            raise HostError(f"{where} is {one.state} and does not answer") from None

    # Which

    async def begun(self, flow: str) -> None:
        """Wait until a flow was applied once: right after the host's start its nodes are not known yet."""
        if self._store.known(flow) not in self._reconciler.results:
            done = self._reconciler.settled(flow, 1)
            await in_time(done, SETTLE_TIMEOUT_S, f"flow {flow!r} is in the bucket")

    def _run(self, flow: str) -> FlowRun:
        run = self._reconciler.runs.get(self._store.known(flow))
        if run is None:
            raise HostError(f"flow {flow!r} is not applied yet")
        return run

    def _all_of(self, flow: str, node: str) -> list[Supervised]:
        run = self._run(flow)
        found = run.of_node(node) or [one for name, one in run.processes.items() if name == node]
        if not found:
            document = self._store.documents[flow].document or {}
            is_disabled = any(one.get("id") == node and one.get("disabled") for one in document.get("nodes", ()))
            known = list(dict.fromkeys(one.plan.node for one in run.processes.values()))
            raise UnknownNode(flow, node, known, is_disabled)
        return found

    def _one_of(self, flow: str, node: str) -> Supervised:
        found = self._all_of(flow, node)
        return next((one for one in found if one.is_up), found[0])

    def _node(self, flow: str, node: str) -> str:
        return node.partition("#")[0] if self._elsewhere.host_of(flow, node) else self._all_of(flow, node)[0].plan.node

    async def _desire(self, flow: str, **changes: Any) -> DeployResult:
        before, was = self._reconciler.marks(flow), self._elsewhere.before(flow)
        await on_bus(self._store.set_desired(flow, replace(self._store.wish(flow), **changes)))
        mark = self._reconciler.marks(flow)
        done = self._reconciler.settled(flow, mark if mark != before else self._reconciler.mark(flow))
        result = await in_time(done, SETTLE_TIMEOUT_S, f"what is desired of flow {flow!r} is stored")
        return await self._elsewhere.joined(result, was, SETTLE_TIMEOUT_S)
