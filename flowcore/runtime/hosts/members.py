"""What the main host asks of the members: operations on nodes placed there, what a change did, how they are.

A member answers `flowcore.host.<name>.<operation>`: the control services of its own nodes, under its own name
(`flowcore.runtime.control`). What it answers here is passed on as it stands.
"""

import asyncio
import json
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import replace
from typing import Any

from flowcore.bus import subjects
from flowcore.bus.connection import Connection, NoResponder
from flowcore.flow.placement import host_of, moved_nodes, nodes_by_host
from flowcore.flow.resolved import ResolvedFlow
from flowcore.runtime.control.errors import ControlError
from flowcore.runtime.hosts.presence import Presence
from flowcore.runtime.results import DeployResult, NodeStatus

_STATUS_TIMEOUT_S = 2.0
_LOOK_S = 0.1
_LISTS = ("kept", "reconfigured", "rewired", "restarted", "started", "stopped")
AWAY = "away"


class Away(ControlError):
    """A member is not connected."""

    def __init__(self, host: str) -> None:
        super().__init__(
            "refused",
            f"host {host!r} is not connected",
            where=host,
            do=f"Start it there: flowcore up --host {host} --nats URL",
        )


class Members:
    """The other hosts, to be asked."""

    def __init__(self, connection: Connection, presence: Presence) -> None:
        self._connection, self._presence = connection, presence

    async def ask(self, host: str, operation: str, *, timeout: float = 30.0, **request: Any) -> dict[str, Any]:
        """One operation of a member.

        Raises:
            ControlError: it refused, with its reason; `Away`: it is not there. TimeoutError: it did not answer.
        """
        try:
            answer = await self._connection.request(
                subjects.host(host, operation), json.dumps(request).encode(), timeout
            )
        except NoResponder:
            raise Away(host) from None
        except TimeoutError:
            raise TimeoutError(f"host {host!r} did not answer within {timeout:g} s") from None
        said = json.loads(answer)
        if isinstance(said.get("error"), dict):
            error = said["error"]
            details = error.get("details") or {}
            raise ControlError(error["code"], error["message"], where=error["where"], do=error["do"], **details)
        return said

    async def joined(
        self,
        result: DeployResult,
        before: ResolvedFlow | None,
        now: ResolvedFlow | None,
        timeout_s: float,
        **request: Any,
    ) -> DeployResult:
        """A result of this host together with what the members did of the same change.

        Args:
            before, now: the flow as it was placed and as it is.
            request: of the members' operation `applied`.
        """
        hosts = [host for host in dict.fromkeys((*nodes_by_host(now), *nodes_by_host(before))) if host]
        answers = await asyncio.gather(
            *(self._applied(host, timeout_s, flow=result.flow, **request) for host in hosts), return_exceptions=True
        )
        for host, answer in zip(hosts, answers, strict=True):
            if isinstance(answer, ControlError | TimeoutError):
                result = replace(result, notes=(*result.notes, *_why_not(host, now, answer)))
            elif isinstance(answer, BaseException):
                raise answer
            else:
                result = _with_part(result, answer)
        return _with_moves(result, moved_nodes(before, now))

    async def _applied(self, host: str, timeout_s: float, **request: Any) -> dict[str, Any]:
        if not self._presence.is_there(host):
            raise Away(host)
        return await self.ask(host, "applied", timeout=timeout_s + 1, timeout_s=timeout_s, **request)

    async def status(self, hosts: Iterable[str], flow: str | None) -> dict[str, dict[str, Any]]:
        """Host -> its answer to `status`, of those that gave one in time."""

        async def one(host: str) -> tuple[str, dict[str, Any] | None]:
            try:
                return host, await self.ask(host, "status", timeout=_STATUS_TIMEOUT_S, flow=flow)
            except (Away, TimeoutError):
                return host, None
            except ControlError:  # it does not know the flow yet
                return host, {}

        answers = await asyncio.gather(*(one(host) for host in hosts))
        return {host: answer for host, answer in answers if answer is not None}

    async def quiet(
        self, hosts: Iterable[str], flow: str, drain_s: float, is_calm_here: Callable[[], Awaitable[bool]]
    ) -> None:
        """Stop a flow's sources on these hosts, and wait until nothing is owed there and here, or the time is over."""
        there = [host for host in hosts if self._presence.is_there(host)]
        try:
            async with asyncio.timeout(drain_s):
                calm = 0
                while calm < 2:
                    said = await asyncio.gather(
                        *(self.ask(host, "quiesce", flow=flow) for host in there), return_exceptions=True
                    )
                    # One that cannot say so holds nobody up: its nodes are gone, or not yet there.
                    is_calm = (
                        all(isinstance(one, BaseException) or one["calm"] for one in said) and await is_calm_here()
                    )
                    calm = calm + 1 if is_calm else 0
                    await asyncio.sleep(_LOOK_S)
        except TimeoutError:
            pass


def away_nodes(flow: ResolvedFlow, host: str) -> list[NodeStatus]:
    """What is shown of the nodes of a host that is not connected."""
    why = f"host {host!r} is not connected"
    return [
        NodeStatus(flow.id, node.id, node.id, node.type, AWAY, host, reason=why)
        for node in flow.nodes.values()
        if host_of(node) == host
    ]


def away_note(flow: ResolvedFlow, host: str) -> str:
    """What is said at a deploy of the nodes of a host that is not connected."""
    count = len(nodes_by_host(flow).get(host, ()))
    nodes = "its node starts" if count == 1 else f"its {count} nodes start"
    return f"host {host!r} is not connected; {nodes} when it comes"


def _why_not(host: str, now: ResolvedFlow | None, error: Exception) -> list[str]:
    if not isinstance(error, Away):
        return [f"host {host!r} did not say that it applied this: {error}"]
    return [away_note(now, host)] if now is not None and host in nodes_by_host(now) else []


def _with_part(result: DeployResult, part: dict[str, Any]) -> DeployResult:
    lists: dict[str, Any] = {name: (*getattr(result, name), *part.get(name, ())) for name in _LISTS}
    return replace(
        result,
        **lists,
        failed={**result.failed, **part.get("failed", {})},
        starting={**result.starting, **part.get("starting", {})},
        problems=(*result.problems, *part.get("problems", ())),
    )


def _with_moves(result: DeployResult, moved: list[str]) -> DeployResult:
    """A node that moved was stopped on one host and started on another: it is told once."""
    if not moved:
        return result
    lists: dict[str, Any] = {
        name: tuple(node for node in getattr(result, name) if node not in moved) for name in _LISTS
    }
    return replace(result, **lists, moved=tuple(moved))
