import asyncio

from flowcore.node import GiveUp, In, Message, Node, Out, field
from flowcore.node.formats import write
from flowcore_nodes.core.again import Again
from flowcore_nodes.iot.framing import delimiter_of, framed
from flowcore_nodes.iot.tcp import PeerConfig, connect, context_of


class TcpOut(Node):
    """Send messages by TCP, over one connection that is kept.

    While the peer is away messages wait in order. With `confirm` a message is done when the peer has answered so, and
    what was not confirmed is sent again over the next connection. TCP alone has no such word: without it a message is
    done when the network has taken it, and what was under way in a cut is lost.
    """

    type = "iot/tcp-out"
    title = "TCP out"
    category = "network"
    icon = "ethernet-port"
    outside = True

    class Config(PeerConfig):
        confirm: str = field("", description="What the peer answers to each message, such as OK\\n; empty: nothing")
        timeout_s: float = field(10.0, gt=0, le=3600, description="Longest wait for a confirmation, in seconds")

    in_ = In(description="the payload is written: bytes and text as they are, all else as JSON")
    out = Out(description="the message, when it is sent")

    async def on_start(self) -> None:
        self._tls = context_of(self.config)
        self._confirm = delimiter_of(self.config.confirm) if self.config.confirm else b""
        self._link = Again(self, self.config.where)
        self._streams: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None
        self._ended = asyncio.Event()
        self.spawn(self._link.run(self._session))

    async def _session(self) -> None:
        self._ended.clear()
        reader, writer = await connect(self.config, self._tls)
        self._streams = reader, writer
        self._link.up()
        try:
            if self._confirm:
                await self._ended.wait()  # whoever waits for a confirmation reads
            else:
                while await reader.read(65536):  # what it says is of no interest, that it has gone is
                    pass
        finally:
            self._streams = None
            writer.close()

    async def on_message(self, message: Message) -> Message:
        try:
            content = framed(write(message.payload, "auto"), self.config)
        except ValueError as e:
            raise GiveUp(str(e)) from None
        while True:
            await self._link.until_up()
            if self._streams is None:
                await asyncio.sleep(0.01)
                continue
            try:
                await self._say(content, *self._streams)
                return message
            except (OSError, TimeoutError, EOFError):
                self._link.down()
                self._ended.set()

    async def _say(self, content: bytes, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if writer.is_closing() or reader.at_eof():
            raise ConnectionError
        writer.write(content)
        await writer.drain()
        if self._confirm:
            async with asyncio.timeout(self.config.timeout_s):
                answer = await reader.readexactly(len(self._confirm))
            if answer != self._confirm:
                self.report(ValueError(f"{self.config.where} answered {answer!r}, not {self._confirm!r}"))
                raise ConnectionError
