"""The users of the bus as the host keeps them: its own, the outsiders', and one for each node process.

Rights are granted before the processes need them and revoked after they have let go; the embedded server takes a new
list without a reconnect. With `--nats` the server's users are not ours: everything uses the host's own.
"""

import asyncio
import logging
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from flowcore.bus.access import AccessStore, subject_of_topic
from flowcore.bus.permissions import BusUser, full_user, inbox_prefix, new_password, node_user
from flowcore.bus.server import BusError, EmbeddedServer
from flowcore.runtime.logs import event
from flowcore.runtime.processplan import ProcessPlan

Key = tuple[str, str]  # flow, process; with _MQTT behind it its user on the MQTT broker
_MQTT = ".mqtt"


class BusRights:
    """Grants and revokes.

    Attributes:
        host, command: users with all rights, for the host itself and for `run.json`.
    """

    def __init__(self, access: AccessStore) -> None:
        self.host, self.command = full_user("flowcore-host"), full_user("flowcore-command")
        self._access = access
        self._server: EmbeddedServer | None = None
        self._mqtt_at: dict[str, Any] = {}
        self._nodes: dict[Key, BusUser] = {}
        self._needed: dict[Key, BusUser] = {}  # what the newest plans ask for; `_nodes` may allow more for a while
        self._turn = asyncio.Lock()
        self._revokes: dict[str, asyncio.TimerHandle] = {}
        self._revoking: set[asyncio.Task[None]] = set()
        self._granted: dict[str, int] = {}  # by flow: how often rights were given

    def everyone(self) -> list[BusUser]:
        """All users as they should be now."""
        return [self.host, self.command, *self._access.users(), *self._nodes.values()]

    def use(self, server: EmbeddedServer) -> None:
        """Tell this server from now on; it was started with `everyone()`."""
        self._server = server
        self._mqtt_at = {"host": server.local_host, "port": server.mqtt_port, "tls": server.has_tls}

    def mqtt(self, flow: str, process: str) -> dict[str, Any] | None:
        """Host, port, tls, user and password of the embedded MQTT broker for a process; None where there is none."""
        user = self._nodes.get((flow, process + _MQTT))
        if user is None:
            return None
        return {**self._mqtt_at, "user": user.name, "password": user.password}

    def user(self, flow: str, process: str) -> BusUser:
        """The user of a process that was granted its rights.

        Raises:
            KeyError: it was not.
        """
        return self._nodes[flow, process]

    async def grant(self, flow: str, plans: Mapping[str, ProcessPlan]) -> None:
        """Give each process what its plan needs, and let it keep what it has.

        Raises:
            BusError, ValueError: the server refused the list; the one before is in force.
        """
        if self._server is None:
            return
        async with self._turn:
            # What a deploy before wanted taken back may be needed again; the end of this one says what is not.
            self._granted[flow] = self._granted.get(flow, 0) + 1
            before = dict(self._nodes)
            for process, plan in plans.items():
                makers = {process: _user_for, process + _MQTT: _mqtt_user_for} if plan.mqtt else {process: _user_for}
                for name, make in makers.items():
                    there = self._nodes.get((flow, name))
                    needed = self._needed[flow, name] = make(plan, there.password if there else None)
                    self._nodes[flow, name] = _both(there, needed) if there else needed
            if self._nodes != before:
                try:
                    await self._server.set_users(self.everyone())
                except BaseException:
                    self._nodes = before
                    raise

    def revoke_later(self, flow: str, plans: Mapping[str, ProcessPlan], after_s: float) -> None:
        """After `after_s` seconds, allow a flow's processes only what these plans need."""
        if self._server is None:
            return
        if flow in self._revokes:
            self._revokes[flow].cancel()
        loop, granted = asyncio.get_running_loop(), self._granted.get(flow, 0)

        def begin() -> None:
            task = loop.create_task(self._revoke(flow, set(plans), granted))
            self._revoking.add(task)
            task.add_done_callback(self._revoking.discard)

        self._revokes[flow] = loop.call_later(after_s, begin)

    async def _revoke(self, flow: str, processes: set[str], granted: int) -> None:
        async with self._turn:
            if self._granted.get(flow, 0) != granted:
                return
            before = dict(self._nodes)
            for key in [key for key in self._nodes if key[0] == flow]:
                if key[1].removesuffix(_MQTT) in processes:
                    self._nodes[key] = self._needed[key]
                else:
                    del self._nodes[key]
                    self._needed.pop(key, None)
            if self._nodes == before or self._server is None:
                return
            try:
                await self._server.set_users(self.everyone())
            except (BusError, OSError, TimeoutError) as e:  # they keep rights that they do not use
                self._nodes = before
                event("rights on the bus were not taken back", logging.WARNING, flow=flow, detail=str(e))

    async def apply_access(self) -> None:
        """The outsiders changed: tell the server."""
        async with self._turn:
            if self._server is not None:
                await self._server.set_users(self.everyone())

    def close(self) -> None:
        """Change nothing more."""
        for handle in self._revokes.values():
            handle.cancel()
        for task in self._revoking:
            task.cancel()
        self._server = None


def _user_for(plan: ProcessPlan, password: str | None) -> BusUser:
    return node_user(
        plan.flow,
        plan.process,
        wires_in=plan.wires_in,
        wires_out=plan.wires_out,
        streams=plan.streams,
        context=plan.context,
        publish=plan.bus_publish,
        subscribe=plan.bus_subscribe,
        password=password,
    )


def _mqtt_user_for(plan: ProcessPlan, password: str | None) -> BusUser:
    """The user of a node on the embedded MQTT broker: the topics in its config, and no others."""
    topics = plan.mqtt or {}
    says = tuple(subject_of_topic(topic) for topic in topics.get("publish", ()))
    hears = tuple(subject_of_topic(topic) for topic in topics.get("subscribe", ()))
    # A subscription to `a/#` takes in `a` itself: the server asks for both rights.
    hears += tuple(subject.removesuffix(".>") for subject in hears if subject.endswith(".>"))
    return BusUser(f"{plan.flow}.{plan.process}{_MQTT}", password or new_password(), says, hears, kinds=("MQTT",))


def _both(one: BusUser, other: BusUser) -> BusUser:
    """A user that may do what either may; in the order of the second, so that nothing changes when nothing did."""
    publish = tuple(dict.fromkeys((*other.publish, *one.publish)))
    subscribe = tuple(dict.fromkeys((*other.subscribe, *one.subscribe)))
    return replace(other, publish=publish, subscribe=subscribe)


def shared_bus(
    url: str, trust: str, user: str | None, password: str | None, flow: str, process: str
) -> dict[str, str | None]:
    """How a node connects to a server that was there before us."""
    return {"url": url, "trust": trust, "user": user, "password": password, "inbox": inbox_prefix(flow, process)}
