import asyncio

from flowcore.node import GiveUp, In, Message, Node, Out, field
from flowcore.node.formats import BadPayload, read, write
from flowcore_nodes.iot.framing import FrameTooLong, framed, frames
from flowcore_nodes.iot.tcp import PeerConfig, connect, context_of


class TcpRequest(Node):
    """Ask a TCP server: write each message, and send on what it answers.

    A connection is kept from one message to the next, unless `keep` is off; one that has ended meanwhile is made anew.
    No answer in time is an error: the setting `retry` tries again. One request is under way at a time.
    """

    type = "iot/tcp-request"
    title = "TCP request"
    category = "network"
    icon = "message-circle-question"
    outside = True

    class Config(PeerConfig):
        timeout_s: float = field(5.0, gt=0, le=3600, description="Longest wait for an answer, in seconds")
        keep: bool = field(True, description="Keep the connection for the next message; off: a new one each time")

    in_ = In(description="the payload is the question: bytes and text as they are, all else as JSON")
    out = Out(description="the answer, without its frame")

    async def on_start(self) -> None:
        self._tls = context_of(self.config)
        self._kept: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None

    async def on_stop(self) -> None:
        self._drop()

    def _drop(self) -> None:
        if self._kept is not None:
            self._kept[1].close()
            self._kept = None

    async def on_message(self, message: Message) -> Message:
        try:
            content = framed(write(message.payload, "auto"), self.config)
        except ValueError as e:
            raise GiveUp(str(e)) from None
        was_kept = self._kept is not None
        try:
            answer = await self._ask(content)
        except (ConnectionError, EOFError):
            self._drop()
            if not was_kept:
                raise
            answer = await self._ask(content)  # it had ended while nothing was asked
        try:
            return message.derive(read(answer, self.config.format))
        except BadPayload as e:
            raise GiveUp(f"the answer of {self.config.where} is {e}") from None

    async def _ask(self, content: bytes) -> bytes:
        try:
            async with asyncio.timeout(self.config.timeout_s):
                if self._kept is None:
                    self._kept = await connect(self.config, self._tls)
                    self.set_status(f"connected: {self.config.where}")
                reader, writer = self._kept
                writer.write(content)
                await writer.drain()
                async for frame in frames(reader.read, self.config):
                    if not self.config.keep:
                        self._drop()
                    return frame
                raise EOFError(f"{self.config.where} has ended the connection without an answer")
        except TimeoutError:
            self._drop()  # a late answer would be taken for that of the next question
            self.set_status(f"no answer: {self.config.where}", "error")
            raise TimeoutError(f"{self.config.where}: no answer within {self.config.timeout_s:g} s") from None
        except FrameTooLong as e:
            self._drop()
            raise GiveUp(f"{self.config.where}: {e}") from None
        except OSError as e:
            self._drop()
            self.set_status(f"{self.config.where}: {e.strerror or e}", "error")
            raise
