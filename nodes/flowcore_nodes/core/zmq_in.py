import asyncio
from typing import Any, Literal

from flowcore.node import Message, Node, Out, field, formats
from flowcore_nodes.core.zmq import ERROR, INSTALL, Line, SocketConfig


class ZmqIn(Node):
    """Receive messages by ZeroMQ: of a PUSH (pattern pull), of a PUB (sub), or confirmed to who sent them (rep).

    With `rep` a message is answered when the flow is done with it, so that a zmq-out with `req`, or any REQ, can send
    again what was not: nothing is lost when this node is killed. `pull` and `sub` have no such word: what waited in the
    socket then is lost. A slow flow makes a PUSH wait; a PUB drops what its subscribers do not take.

    The first of several frames is the topic, the last one the payload (a list, where there are more). What is not in
    the `format` is an error, answered with ERROR; others go on.
    """

    type = "core/zmq-in"
    title = "ZeroMQ in"
    category = "network"
    icon = "log-in"
    needs = ("zmq",)
    install = INSTALL
    outside = True

    class Config(SocketConfig):
        pattern: Literal["pull", "sub", "rep"] = field("pull", description="PULL, SUB, or REP, with confirmation")
        topics: list[str] = field([""], description="sub: how topics begin that are wanted; an empty text: all")
        format: formats.Format = field("auto", description="What the bytes are; auto: JSON, else text, else bytes")
        in_flight: int = field(1000, ge=1, le=50_000, description="rep: most messages that are not answered yet")

    out = Out(description="the payload; the topic is the first frame, else the address")

    async def on_start(self) -> None:
        import zmq

        kinds = {"pull": zmq.PULL, "sub": zmq.SUB, "rep": zmq.ROUTER}
        self._line = Line(self, kinds[self.config.pattern], {})
        self._open: dict[bytes, list[bytes]] = {}  # id of a request -> where its answer goes
        self._room = asyncio.Event()
        self.spawn(self._line.run())

    async def on_stop(self) -> None:
        if hasattr(self, "_line"):
            self._line.close()

    async def run(self) -> None:
        import zmq

        self._socket = await asyncio.shield(self._line.opened)
        if self.config.pattern == "sub":
            for topic in self.config.topics:
                self._socket.setsockopt(zmq.SUBSCRIBE, topic.encode())
        while True:
            frames = await self._socket.recv_multipart()
            if self.config.pattern != "rep":
                await self._pass_on(frames)
                continue
            try:
                delimiter = frames.index(b"", 1)
            except ValueError:
                self.report(ValueError(f"{self.config.address}: no request: no empty frame before the message"))
                continue
            envelope, body = frames[: delimiter + 1], frames[delimiter + 1 :]
            # What is sent again while it is in work comes over another connection, with the id that it had.
            key = b"\0".join(envelope[1:]) if delimiter > 1 else b"\0".join(envelope)
            is_known = key in self._open
            self._open[key] = envelope
            if not is_known:
                await self._take(key, body)
                while len(self._open) >= self.config.in_flight:
                    self._room.clear()
                    await self._room.wait()

    async def _take(self, key: bytes, body: list[bytes]) -> None:
        error = await self._pass_on(body, lambda: self._answer(key, b"OK"))
        if error is not None:
            self._answer(key, ERROR + b" " + str(error).encode())

    async def _pass_on(self, frames: list[bytes], done: Any = None) -> Exception | None:
        form, topic = self.config.format, self.config.address
        if len(frames) > 1:
            topic, frames = frames[0].decode("utf-8", "replace"), frames[1:]
        try:
            if not frames:
                raise ValueError("there is no frame with a payload")
            values = [formats.read(one, form) for one in frames]
            receipt = await self.send(values[0] if len(values) == 1 else values, topic=topic)
        except (ValueError, TypeError) as error:  # not in the format, or nothing that an envelope can hold
            self.report(ValueError(f"{self.config.address}: {error}"), Message(b"".join(frames)[:1024], topic))
            return error
        if done is not None:
            receipt.then(done)
        return None

    def _answer(self, key: bytes, text: bytes) -> None:
        envelope = self._open.pop(key)
        self._room.set()
        sending = self._socket.send_multipart([*envelope, text])
        sending.add_done_callback(lambda done: done.cancelled() or done.exception())  # who is gone asks again
