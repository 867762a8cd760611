import asyncio
import contextlib
import itertools
import secrets
import time
from typing import Any, Literal

from flowcore.node import GiveUp, In, Message, Node, Out, field, formats
from flowcore_nodes.core.zmq import ERROR, INSTALL, Line, SocketConfig, frames_of

_LOOK_S = 0.5


class ZmqOut(Node):
    """Send messages by ZeroMQ: to one of several PULLs (pattern push), to all SUBs (pub), or confirmed by a REP (req).

    With `req` a message is done when the peer has answered it (a zmq-in with `rep`: when its flow is done with it), and
    is sent again after a cut, or after `timeout_s`: nothing is lost, and some may come twice. `push` is done when
    ZeroMQ has taken it, which keeps nothing over a kill; while nobody is there messages wait. `pub` never waits, and
    what nobody listens to is gone. An answer that begins with ERROR is an error of the message.
    """

    type = "core/zmq-out"
    title = "ZeroMQ out"
    category = "network"
    icon = "log-out"
    needs = ("zmq",)
    install = INSTALL
    outside = True

    class Config(SocketConfig):
        pattern: Literal["push", "pub", "req"] = field("push", description="PUSH, PUB, or REQ, with confirmation")
        topic: bool = field(True, description="Send the message's topic as a frame before the payload")
        format: formats.Format = field("auto", description="auto: bytes and text as they are, all else as JSON")
        timeout_s: float = field(30.0, gt=0, le=3600, description="req: without an answer it is sent again, seconds")

    in_ = In(description="what is sent")
    out = Out(description="the message, when it is sent, or confirmed")

    async def on_start(self) -> None:
        import zmq

        self._zmq, pattern = zmq, self.config.pattern
        kinds = {"push": zmq.PUSH, "pub": zmq.PUB, "req": zmq.DEALER}
        # IMMEDIATE: only to who is there. A cut then empties the socket, and what is owed is sent once more, not twice.
        options = {"IMMEDIATE": 0 if pattern == "pub" else 1}
        if pattern == "req":
            options["SNDHWM"] = 0  # what is under way is bounded by what came together
        self._line = Line(self, kinds[pattern], options, self._peers_changed)
        self._owed: dict[bytes, tuple[list[bytes], asyncio.Future[bytes]]] = {}  # by id, in order
        self._name, self._numbers = secrets.token_hex(6), itertools.count(1)
        self._sent: set[bytes] = set()  # of these, over this connection
        self._new, self._answered_s = asyncio.Event(), 0.0
        self.spawn(self._line.run())
        if pattern == "req":
            self.spawn(self._speak())
            self.spawn(self._hear())

    async def on_stop(self) -> None:
        if hasattr(self, "_line"):
            self._line.close()

    async def on_batch(self, messages: list[Message]) -> list[Message]:
        socket = await asyncio.shield(self._line.opened)
        ways: list[tuple[Message, Any]] = []
        for message in messages:
            try:
                frames = frames_of(message.topic, formats.write(message.payload, self.config.format), self.config.topic)
            except ValueError as e:
                self.report(GiveUp(str(e)), message)
                continue
            if self.config.pattern == "req":
                ways.append((message, self._owe(frames)))
            else:
                await socket.send_multipart(frames)
                ways.append((message, None))
        done = []
        for message, answer in ways:
            said = await answer if answer is not None else b""
            if said.startswith(ERROR):
                self.report(GiveUp(f"{self.config.address}: {said.decode('utf-8', 'replace')}"), message)
            else:
                done.append(message)
        return done

    def _owe(self, frames: list[bytes]) -> asyncio.Future[bytes]:
        key = f"{self._name}-{next(self._numbers)}".encode()
        answer: asyncio.Future[bytes] = asyncio.get_running_loop().create_future()
        if not self._owed:
            self._answered_s = time.monotonic()
        self._owed[key] = ([key, b"", *frames], answer)
        self._new.set()
        return answer

    def _peers_changed(self, before: int, now: int) -> None:
        if before == 0 and now:
            self._sent.clear()
            self._new.set()

    async def _speak(self) -> None:
        """Send what is owed in order; all of it from the beginning after a cut, or when nobody answers."""
        socket = await asyncio.shield(self._line.opened)
        while True:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(_LOOK_S):
                    await self._new.wait()
            self._new.clear()
            if self._owed and time.monotonic() - self._answered_s > self.config.timeout_s:
                self._answered_s = time.monotonic()
                self._sent.clear()
            if not self._line.peers:
                continue
            self._sent &= self._owed.keys()
            for key, (frames, _) in [one for one in self._owed.items() if one[0] not in self._sent]:
                try:
                    await socket.send_multipart(frames, flags=self._zmq.NOBLOCK)
                except self._zmq.Again:  # nobody is there by now; who comes is told of
                    break
                self._sent.add(key)

    async def _hear(self) -> None:
        socket = await asyncio.shield(self._line.opened)
        while True:
            key, *said = await socket.recv_multipart()
            self._answered_s = time.monotonic()
            owed = self._owed.pop(key, None)
            if owed is not None and not owed[1].done():
                owed[1].set_result(said[1] if len(said) > 1 else b"")
