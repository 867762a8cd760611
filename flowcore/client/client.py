"""A program's line to a running flowcore: subscribe, publish, ask the control services.

    async with flowcore.client.connect(".flowcore") as fc:
        await fc.publish("flow.factory.hot.in.value", 91.5)
        async for message in fc.subscribe("flow.factory.*.out.>"):
            print(message.node, message.payload)
        async for message in fc.subscribe("flow.factory.camera.out.frame", queue=1):
            frame = await message.payload.numpy()

    CallFailed       the runtime answered, with an error: `code`, `message`, `where`, `do`, `details`
    NoAnswer         nobody answered in time
    NotRunning       nobody is there, or this user is not let in
    Untrusted        the server's certificate is not trusted

Delivery here is at most once: a program that must not lose a message takes it from a durable wire, or is a node.
Invariant: a subscription holds at most its `queue` of messages; what is too much is dropped, oldest first, and counted.
"""

import asyncio
import json
import os
import re
from collections import deque
from collections.abc import AsyncIterator
from types import TracebackType
from typing import Any, Self
from urllib.parse import urlsplit

from flowcore.buffers.fetch import Fetcher
from flowcore.bus.connection import Connection, NoResponder
from flowcore.bus.envelope import Malformed
from flowcore.bus.permissions import outsider_inbox
from flowcore.bus.tls import Untrusted
from flowcore.client.address import NotRunning, Target, find
from flowcore.client.message import Message, decode, encode
from flowcore.client.tensor import Memory

_SUBJECT = re.compile(r"[^\s.]+(\.[^\s.]+)*")


class CallFailed(Exception):
    """The runtime refused or failed, and says why and what to do."""

    def __init__(self, error: dict[str, Any]) -> None:
        self.code: str = error.get("code", "failed")
        self.message: str = error.get("message", "the runtime gave no reason")
        self.where: str = error.get("where", "")
        self.do: str = error.get("do", "")
        self.details: dict[str, Any] = error.get("details") or {}
        super().__init__(f"{self.where}: {self.message}" if self.where else self.message)


class NoAnswer(ConnectionError):
    """Nobody answered a call in time."""


class Subscription:
    """Messages of one subject, as they come: `async for`, or `await subscription.next(timeout)`.

    Inside `async with` the server has it before the block begins, so nothing published there is missed.
    """

    def __init__(self, client: "Client", subject: str, queue: int) -> None:
        self.subject = subject
        self.dropped = 0  # messages that came while the queue was full
        self.malformed = 0  # frames that did not decode
        self._client, self._limit = client, queue
        self._waiting: deque[Message] = deque()
        self._arrived = asyncio.Event()
        self._opened = self._closed = False

    async def open(self) -> None:
        """Subscribe, and wait until the server has it."""
        if not self._opened:
            self._opened = True
            await self._client._add(self)

    async def close(self) -> None:
        """Get nothing more; whoever waits for a message stops waiting."""
        if not self._closed:
            self._closed = True
            await self._client._remove(self)
            self._arrived.set()

    async def next(self, timeout: float | None = None) -> Message:
        """The next message.

        Raises:
            TimeoutError: none came in `timeout` seconds.
            StopAsyncIteration: the subscription was closed.
        """
        await self.open()
        async with asyncio.timeout(timeout):
            while not self._waiting:
                if self._closed:
                    raise StopAsyncIteration
                self._arrived.clear()
                await self._arrived.wait()
        return self._waiting.popleft()

    def _take(self, subject: str, data: bytes) -> None:
        try:
            messages = decode(subject, data, self._client._memory)
        except Malformed:
            self.malformed += 1
            return
        for message in messages:
            if len(self._waiting) >= self._limit:
                self._waiting.popleft()
                self.dropped += 1
            self._waiting.append(message)
        self._arrived.set()

    def __aiter__(self) -> AsyncIterator[Message]:
        return self

    async def __anext__(self) -> Message:
        return await self.next()

    async def __aenter__(self) -> Self:
        await self.open()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()


class Client:
    """A connection to a running flowcore; made by `connect`."""

    def __init__(self, target: Target, *, name: str, timeout: float) -> None:
        self.target = target
        self.refused: deque[str] = deque(maxlen=100)  # what the server did not allow this user
        self._name, self._timeout = name, timeout
        self._receivers: dict[str, list[Subscription]] = {}
        inbox = outsider_inbox(target.user) if target.user else "_INBOX"
        self._bus = Connection(
            target.url,
            user=target.user,
            password=target.password,
            name=name,
            inbox=inbox,
            trust=target.trust,
            on_refused=self._on_refused,
        )
        self._fetcher = Fetcher(self._bus, inbox)
        self._memory = Memory(self._fetcher)

    def _on_refused(self, text: str) -> None:
        self.refused.append(text)
        self._fetcher.on_refused(text)

    async def open(self) -> None:
        """Connect.

        Raises:
            NotRunning: nothing listens there, or it does not let this user in.
            Untrusted: its certificate is not trusted.
        """
        await _reach(self.target.url)
        try:
            await self._bus.connect(timeout=self._timeout)
        except Untrusted as e:
            await self._bus.close()
            raise Untrusted(f"{self.target.url}: {e}") from None
        except TimeoutError:
            await self._bus.close()
            who = f"user {self.target.user!r}" if self.target.user else "a user without a name"
            raise NotRunning(f"{self.target.url} did not let {who} in within {self._timeout:g} s") from None

    async def close(self) -> None:
        """End all subscriptions and the connection."""
        for subscription in [each for receivers in self._receivers.values() for each in receivers]:
            await subscription.close()
        await self._memory.close()
        await self._bus.close()

    def subscribe(self, subject: str, *, queue: int = 10_000) -> Subscription:
        """Messages of a subject (`*` one token, `>` the rest); at most `queue` of them wait for you.

        Raises:
            ValueError: no subject: blanks, or nothing between two dots.
        """
        return Subscription(self, _checked(subject), queue)

    async def publish(self, subject: str, value: Any, *, topic: str = "", meta: dict[str, Any] | None = None) -> None:
        """Publish a value, and wait until the server has it.

        On `flow.<flow>.<node>.in.<port>` it becomes a message of that node; elsewhere it is JSON, or bytes as they are.

        Raises:
            PermissionError: this user may not publish there.
            TimeoutError: the bus is away.
            TypeError, ValueError: the value cannot be sent, or the subject is none.
        """
        if "*" in subject or ">" in subject:
            raise ValueError(f"{subject}: wildcards are for subscribing")
        data = encode(_checked(subject), value, topic, meta)
        refusals = len(self.refused)
        if not self._bus.publish(subject, data):
            raise TimeoutError(f"{self.target.url} is away")
        await self._bus.flush()
        if len(self.refused) > refusals:
            raise PermissionError(self.refused[-1])

    async def deliver(self, subject: str, value: Any, *, topic: str = "", timeout: float = 5.0) -> bool:
        """Publish a value on a node's input, and wait until the node has handled it.

        Returns:
            False: it has it, but was not done with it in `timeout` seconds.
        Raises:
            LookupError: nobody listens there, or the node refused it, with the reason.
            TypeError, ValueError, PermissionError: as `publish`.
        """
        refusals = len(self.refused)
        try:
            said = json.loads(await self._bus.request(_checked(subject), encode(subject, value, topic, None), timeout))
        except NoResponder:
            raise LookupError(f"{subject}: no node listens there") from None
        except TimeoutError:
            if len(self.refused) > refusals:
                raise PermissionError(self.refused[-1]) from None
            return False
        if not said.get("ok"):
            raise LookupError(f"{subject}: {said.get('error')}")
        return True

    async def call(self, operation: str, *, timeout: float = 30.0, **request: Any) -> dict[str, Any]:
        """Ask a control service (`docs/control.md` lists them) and return its answer.

        Raises:
            CallFailed: the runtime refused, with the reason.
            NoAnswer: no runtime on this bus, or not in `timeout` seconds.
        """
        subject = f"flowcore.{operation}"
        try:
            data = await self._bus.request(subject, json.dumps(request).encode(), timeout=timeout)
        except TimeoutError as e:
            if "no responders" in str(e):
                raise NoAnswer(f"no runtime on {self.target.url} answers {subject}") from None
            raise NoAnswer(f"{subject} was not answered within {timeout:g} s") from None
        answer = json.loads(data)
        if isinstance(answer, dict) and "error" in answer and isinstance(answer["error"], dict):
            raise CallFailed(answer["error"])
        return answer

    async def _add(self, subscription: Subscription) -> None:
        receivers = self._receivers.setdefault(subscription.subject, [])
        receivers.append(subscription)
        if len(receivers) == 1:
            await self._bus.subscribe(
                subscription.subject, lambda subject, data, _reply, _headers: self._deliver(receivers, subject, data)
            )
        refusals = len(self.refused)
        await self._bus.flush()
        if len(self.refused) > refusals:
            raise PermissionError(self.refused[-1])

    async def _remove(self, subscription: Subscription) -> None:
        receivers = self._receivers.get(subscription.subject, [])
        if subscription in receivers:
            receivers.remove(subscription)
        if not receivers and self._receivers.pop(subscription.subject, None) is not None:
            await self._bus.unsubscribe(subscription.subject)

    @staticmethod
    def _deliver(receivers: list[Subscription], subject: str, data: bytes) -> None:
        for subscription in receivers:
            subscription._take(subject, data)

    async def __aenter__(self) -> Self:
        await self.open()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()


def connect(
    target: str | os.PathLike[str] | None = None,
    user: str | None = None,
    password: str | None = None,
    *,
    ca: str | os.PathLike[str] | None = None,
    name: str = "flowcore client",
    timeout: float = 5.0,
) -> Client:
    """A client for `async with`.

    Args:
        target: `nats://[user:password@]host:port`, with TLS `tls://..`; a data folder (its `run.json` says the rest);
            or None: `.flowcore`.
        user, password: as `flowcore access add` printed them.
        ca: PEM file with the certificates to trust with `tls://`; None: those that the system trusts.
        timeout: seconds to reach the server.
    Raises:
        NotRunning: the data folder has no runtime.
        BadCertificate: `ca` cannot be read.
    """
    return Client(find(target, user, password, ca), name=name, timeout=timeout)


def _checked(subject: str) -> str:
    if not _SUBJECT.fullmatch(subject):
        raise ValueError(f"{subject!r} is not a subject: tokens without blanks, joined by single dots")
    return subject


async def _reach(url: str) -> None:
    """Fail at once where nothing listens: the connection below would try for ever."""
    problems = []
    for one in url.split(","):
        parts = urlsplit(one if "://" in one else f"nats://{one}")
        try:
            async with asyncio.timeout(5):
                _, writer = await asyncio.open_connection(parts.hostname, parts.port or 4222)
            writer.close()
            return
        except (OSError, TimeoutError) as e:
            problems.append(f"{one}: {os.strerror(e.errno) if isinstance(e, OSError) and e.errno else 'no answer'}")
    raise NotRunning("; ".join(problems))
