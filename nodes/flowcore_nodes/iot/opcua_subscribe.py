import asyncio
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from pydantic import field_validator

from flowcore.node import Node, NodeConfig, Out, field
from flowcore_nodes.core.again import Again
from flowcore_nodes.iot.opcua import Server, Value, iso, names_once, plain

if TYPE_CHECKING:
    from flowcore_nodes.iot.opcua_watch import Watch


class Watched(Value):
    """A variable that is watched."""

    deadband: float = field(
        0.0, ge=0, description="Numbers: the server tells changes larger than this, in the value's unit; 0: all"
    )


class OpcuaSubscribe(Node):
    """Be told by an OPC UA server of each change of a value.

    Each change is a message with the value's name as topic, and confirmed to the server when the flow is done with it.
    While the line is cut, this node is restarted or killed, or the flow is slow, the server keeps what changes, for
    `keep_s` and as much as `queue` holds, and sends it later; around a kill something may come twice. What is known to
    be lost is told at `missed`: the server was started anew or has forgotten the subscription (`forgotten`, with the
    time between), the queue of a value was full (`overflow`), a notification is gone (`gap`).
    """

    type = "iot/opcua-subscribe"
    title = "OPC UA subscribe"
    category = "iot"
    icon = "radio"
    needs = ("asyncua",)
    install = "pip install 'flowcore[opcua]'"

    class Config(NodeConfig):
        server: Server = field(Server(), description='The server, or {"$use": "name"} of a resource iot/opcua-server')
        values: list[Watched] = field(..., min_length=1, description="What is watched")
        publish_ms: float = field(500.0, ge=10, le=60_000, description="How often the server tells, in milliseconds")
        sample_ms: float = field(
            -1.0,
            ge=-1,
            le=60_000,
            description="How often it looks at a value, in milliseconds; -1: as often as it tells",
        )
        queue: int = field(100, ge=1, le=10_000, description="Changes of each value that the server keeps for us")

        keep_s: float = field(
            300.0,
            ge=10,
            le=86_400,
            description="How long the server keeps all that for us while we are away, in seconds",
        )

        @field_validator("values")
        @classmethod
        def _names_once(cls, values: list[Watched]) -> list[Watched]:
            names_once(values)
            return values

    out = Out(description="the new value; meta.opcua has node, status and the server's time")
    bad = Out(dict, description="name, status and time of a value that has become bad")
    missed = Out(dict, description="reason, and name, count, from and to (ISO 8601) and seconds where they are known")

    async def on_start(self) -> None:
        self._again = Again(self, str(self.config.server))
        self._nodes = {value.name: value.node for value in self.config.values}
        self._watch: Watch | None = None
        self._told: dict[str, str] = {}

    async def run(self) -> None:
        await self._again.run(self._session)

    async def _session(self) -> None:
        from asyncua import ua

        from flowcore_nodes.iot.opcua_link import opened
        from flowcore_nodes.iot.opcua_watch import Watch

        config = self.config
        if self._watch is None:
            self._watch = Watch(
                config.publish_ms, config.sample_ms, config.queue, config.keep_s,
                self._on_change, self._on_missed, self.data_folder / "subscription.json",
            )  # fmt: skip
        absolute = 1
        filters = {
            value.name: ua.DataChangeFilter(ua.DataChangeTrigger.StatusValue, absolute, value.deadband)
            for value in config.values
            if value.deadband
        }
        async with opened(config.server, self.data_folder / "session.json", config.keep_s) as link:
            ids = await link.node_ids(config.values)
            await self._watch.watch(link, ids, filters)
            unknown = {name: f"the server has no namespace of {node}" for name, node in self._nodes.items()}
            self._tell({name: why for name, why in unknown.items() if name not in ids} | self._watch.refused)
            ends = [asyncio.create_task(one) for one in (link.until_lost(), self._watch.until_stale())]
            try:
                done, _ = await asyncio.wait(ends, return_when=asyncio.FIRST_COMPLETED)
                done.pop().result()
            finally:
                for one in ends:
                    one.cancel()

    def _tell(self, refused: dict[str, str]) -> None:
        self._again.up()
        for name, why in refused.items():
            if self._told.get(name) != why:
                self.report(ValueError(f"{name}: {why}"))
        self._told = refused
        if refused:
            self.set_status(f"{self.config.server}: {len(refused)} values can't be watched", "warn")

    async def _on_change(self, name: str, got: Any) -> Any:
        from flowcore_nodes.iot.opcua_link import said

        at = iso(got.SourceTimestamp or got.ServerTimestamp)
        status = said(got.StatusCode).partition(":")[0] if got.StatusCode is not None else "Good"
        if got.StatusCode is not None and got.StatusCode.is_bad():
            return await self.send({"name": name, "status": status, "time": at}, port="bad", topic=name)
        value = plain(got.Value.Value if got.Value is not None else None)
        about = {"node": self._nodes[name], "status": status, "time": at}
        return await self.send(value, topic=name, meta={"opcua": about})

    async def _on_missed(self, reason: str, name: str, count: int, away_s: float) -> None:
        told: dict[str, Any] = {"reason": reason}
        if name:
            told["name"] = name
        if count:
            told["count"] = count
        if away_s:
            begin, end = (datetime.fromtimestamp(at_s, UTC) for at_s in (self.now_s() - away_s, self.now_s()))
            told |= {"from": iso(begin), "to": iso(end), "seconds": round(away_s, 3)}
        await self.send(told, port="missed", topic=name)
