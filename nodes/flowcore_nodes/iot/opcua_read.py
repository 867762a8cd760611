import asyncio
import time
from typing import TYPE_CHECKING, Any

from pydantic import field_validator

from flowcore.node import In, Message, Node, NodeConfig, Out, field
from flowcore_nodes.core.again import Again
from flowcore_nodes.iot.opcua import Server, Value, iso, names_once, plain

if TYPE_CHECKING:
    from flowcore_nodes.iot.opcua_link import Link


class OpcuaRead(Node):
    """Read values of an OPC UA server, in a rhythm and when a message asks for it.

    All values are read with one request, and come as one map, name by name. One that the server does not have, or that
    is bad at the moment, is told once and named in meta.errors; the others come all the same. A server that is away, or
    refuses us, is tried again until it is back. To be told of each change, use iot/opcua-subscribe.
    """

    type = "iot/opcua-read"
    title = "OPC UA read"
    category = "iot"
    icon = "gauge"
    needs = ("asyncua",)
    install = "pip install 'flowcore[opcua]'"

    class Config(NodeConfig):
        server: Server = field(Server(), description='The server, or {"$use": "name"} of a resource iot/opcua-server')
        values: list[Value] = field(..., min_length=1, description="What is read")
        every_s: float = field(1.0, ge=0, le=86_400, description="How often, in seconds; 0: only when a message asks")

        @field_validator("values")
        @classmethod
        def _names_once(cls, values: list[Value]) -> list[Value]:
            names_once(values)
            return values

    in_ = In(description="asks for all values at once")
    out = Out(dict, description="name -> value; meta.times: name -> when it was so; meta.errors: name -> why not")

    async def on_start(self) -> None:
        self._again = Again(self, str(self.config.server))
        self._link: Link | None = None
        self._told: dict[str, str] = {}

    async def run(self) -> None:
        await self._again.run(self._session)

    async def _session(self) -> None:
        from flowcore_nodes.iot.opcua_link import opened

        async with opened(self.config.server) as link:
            self._ids = await link.node_ids(self.config.values)
            self._link = link
            self._again.up()
            polling = asyncio.create_task(self._poll(link))
            lost = asyncio.create_task(link.until_lost())
            try:
                done, _ = await asyncio.wait([polling, lost], return_when=asyncio.FIRST_COMPLETED)
                done.pop().result()
            finally:
                self._link = None
                polling.cancel()
                lost.cancel()

    async def _poll(self, link: "Link") -> None:
        if not self.config.every_s:
            await asyncio.Event().wait()
        due_s = time.monotonic()
        while True:
            await asyncio.sleep(max(0.0, due_s - time.monotonic()))
            payload, meta = await self._read(link)
            await self.send(payload, topic=str(self.config.server), meta=meta)
            due_s = max(due_s + self.config.every_s, time.monotonic())  # what it is late is not caught up

    async def on_message(self, message: Message) -> Message:
        while True:
            await self._again.until_up()
            link = self._link
            if link is None:
                await asyncio.sleep(0.01)
                continue
            try:
                payload, meta = await self._read(link)
            except (OSError, TimeoutError) as e:
                link.end(e)
                self._again.down()
                continue
            return message.derive(payload, meta={**message.meta, **meta})

    async def _read(self, link: "Link") -> tuple[dict[str, Any], dict[str, Any]]:
        from flowcore_nodes.iot.opcua_link import said

        ids = self._ids
        errors = {one.name: f"the server has no namespace of {one.node}" for one in self.config.values} | dict.fromkeys(
            ids, ""
        )
        payload: dict[str, Any] = {}
        times: dict[str, str] = {}
        found = await link.read(list(ids.values())) if ids else []
        for name, got in zip(ids, found, strict=True):
            if got.StatusCode is not None and got.StatusCode.is_bad():
                errors[name] = said(got.StatusCode)
                continue
            payload[name] = plain(got.Value.Value if got.Value is not None else None)
            times[name] = iso(got.SourceTimestamp or got.ServerTimestamp)
        errors = {name: why for name, why in errors.items() if why}
        self._tell(errors)
        return payload, {"times": times} | ({"errors": errors} if errors else {})

    def _tell(self, errors: dict[str, str]) -> None:
        for name, why in errors.items():
            if self._told.get(name) != why:
                self.report(ValueError(f"{name}: {why}"))
        if errors:
            self.set_status(f"{self.config.server}: {len(errors)} values can't be read", "warn")
        elif self._told:
            self._again.up()
        self._told = errors
