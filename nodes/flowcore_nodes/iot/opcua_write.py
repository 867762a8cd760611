import asyncio
from typing import TYPE_CHECKING, Any

from pydantic import field_validator

from flowcore.node import GiveUp, In, Message, Node, NodeConfig, Out, field
from flowcore_nodes.core.again import Again
from flowcore_nodes.iot.opcua import Server, Value, names_once, typed

if TYPE_CHECKING:
    from flowcore_nodes.iot.opcua_link import Link


class OpcuaWrite(Node):
    """Write values of an OPC UA server.

    The payload is a map, name by name, or the value itself where only one is configured; the server says which type
    each has. A message is done when the server has taken it. A name that is not configured, a value that does not fit
    its type, and what the server refuses are errors, and nothing of a message is written before all of it fits. While
    the server is away messages wait in order.
    """

    type = "iot/opcua-write"
    title = "OPC UA write"
    category = "iot"
    icon = "sliders-horizontal"
    needs = ("asyncua",)
    install = "pip install 'flowcore[opcua]'"
    outside = True

    class Config(NodeConfig):
        server: Server = field(Server(), description='The server, or {"$use": "name"} of a resource iot/opcua-server')
        values: list[Value] = field(..., min_length=1, description="What can be written")

        @field_validator("values")
        @classmethod
        def _names_once(cls, values: list[Value]) -> list[Value]:
            names_once(values)
            return values

    in_ = In(description="name -> value, or the value")
    out = Out(description="the message, when the server has it")

    async def on_start(self) -> None:
        self._again = Again(self, str(self.config.server))
        self._link: Link | None = None
        self._kinds: dict[str, Any] = {}  # name -> asyncua's VariantType, as this session's server says
        self.spawn(self._again.run(self._session))

    async def _session(self) -> None:
        from flowcore_nodes.iot.opcua_link import opened

        async with opened(self.config.server) as link:
            self._ids = await link.node_ids(self.config.values)
            self._kinds = {}
            self._link = link
            self._again.up()
            try:
                await link.until_lost()
            finally:
                self._link = None

    async def on_message(self, message: Message) -> Message:
        wanted = self._wanted(message.payload)
        while True:
            await self._again.until_up()
            link = self._link
            if link is None:
                await asyncio.sleep(0.01)
                continue
            try:
                await self._write(link, wanted)
                return message
            except (OSError, TimeoutError) as e:  # a write that is made twice does no harm
                link.end(e)
                self._again.down()

    def _wanted(self, payload: Any) -> dict[str, Any]:
        names = [value.name for value in self.config.values]
        if not isinstance(payload, dict):
            if len(names) != 1:
                raise GiveUp(f"a map is needed, name by name ({', '.join(names)}), got {type(payload).__name__}")
            payload = {names[0]: payload}
        if unknown := [name for name in payload if name not in names]:
            raise GiveUp(f"no value {unknown[0]!r} is configured; there is {', '.join(names)}")
        return payload

    async def _write(self, link: "Link", wanted: dict[str, Any]) -> None:
        from asyncua import ua

        from flowcore_nodes.iot.opcua_link import said

        variants = []
        for name, value in wanted.items():
            try:
                kind = await self._kind(link, name)
                new = typed(value, kind.name)
                if kind is ua.VariantType.LocalizedText:
                    new = ua.LocalizedText(new)
                variants.append(ua.Variant(new, kind))
            except ValueError as e:
                raise GiveUp(f"{name}: {e}") from None
        codes = await link.write([self._ids[name] for name in wanted], variants)
        refused = [f"{name}: {said(code)}" for name, code in zip(wanted, codes, strict=True) if not code.is_good()]
        if refused:
            raise GiveUp("; ".join(refused))

    async def _kind(self, link: "Link", name: str) -> Any:
        from asyncua import ua

        from flowcore_nodes.iot.opcua_link import said

        if name not in self._kinds:
            if name not in self._ids:
                raise ValueError("the server has no such namespace")
            try:
                self._kinds[name] = await link.client.get_node(self._ids[name]).read_data_type_as_variant_type()
            except ua.UaStatusCodeError as e:
                raise ValueError(said(e.code)) from None
            except ua.UaError as e:
                raise ValueError(str(e)) from None
        return self._kinds[name]
