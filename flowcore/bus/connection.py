"""One connection to the bus: reconnects for ever, delivers in order of arrival, publishes without a task switch.

nats-py gives each subscription a queue and a task of its own, so messages of two subscriptions overtake each other, and
a publish waits for a flusher task. The wires need the order in which the server sent, and speed. So subscriptions made
here are called straight from the socket (`flowcore.bus.shortcut`), and publishes go straight to it when nothing is
waiting. Everything else (requests, JetStream, key-value) is nats-py's, unchanged, through `Connection.client`.

With a `tls://` URL nothing is sent before the line is encrypted, whatever the server offers: nats-py itself goes on in
the clear, password and all, where the server leaves the choice to the client (`allow_non_tls`).

    Refused     the server refused a publish or a subscription of this connection's user: `on_refused(text)`

Invariant: callbacks run in the order in which the server's bytes arrived, and never wait.
"""

import asyncio
import contextlib
import logging
import random
import ssl
import time
from collections.abc import Callable
from typing import Any

from flowcore.bus import nats_py  # noqa: F401 - before the others

# isort: split
import nats.aio.client
import nats.errors
from nats.aio.msg import Msg
from nats.aio.subscription import Subscription
from nats.js import JetStreamContext

from flowcore.bus import shortcut, tls
from flowcore.bus.shortcut import WatchedParser

Callback = Callable[[str, bytes, str, bytes], None]  # subject, data, reply ("" if none), raw headers (b"" if none)

BUS_TROUBLE: tuple[type[Exception], ...] = (nats.errors.Error, OSError, TimeoutError)
"""What a request or a JetStream call raises when the bus is away, late, or says no: try again later."""

_log = logging.getLogger("flowcore.bus")
_FIRST_WAIT_S, _LONGEST_WAIT_S = 0.05, 2.0
_CLOSE_S = 2.0
_NOBODY_S, _NOBODY_PAUSE_S = 2.0, 0.05  # how long nobody may answer for JetStream, and between two tries
_JETSTREAM = ("$JS.API.", "$KV.")
_MOST_UNSENT = 32 << 20  # bytes that a server which does not read may leave with us


class NoResponder(TimeoutError):
    """Nobody listens on the subject of a request: the server says so at once."""


def _is_news(record: logging.LogRecord) -> bool:
    """False for what asyncio says at the end of each TLS connection that nats-py has upgraded: it means nothing."""
    return "eof_received() has no effect" not in str(record.msg)


logging.getLogger("asyncio").addFilter(_is_news)


class _Client(nats.aio.client.Client):
    """nats-py's client with direct delivery for the subscriptions in `direct`, and patience with JetStream."""

    def __init__(self) -> None:
        super().__init__()
        self.direct: dict[int, Callback] = {}
        self._ps = WatchedParser(self)

    async def request(self, subject: str, *args: Any, **options: Any) -> Msg:
        """As nats-py's, but that JetStream is asked again when nobody answers.

        So it is for a moment while the server reads its users again, at each deploy [nats-server 2.15].
        """
        until_s = time.monotonic() + _NOBODY_S
        while True:
            try:
                return await super().request(subject, *args, **options)
            except nats.errors.NoRespondersError:
                if not subject.startswith(_JETSTREAM) or time.monotonic() > until_s:
                    raise
            await asyncio.sleep(_NOBODY_PAUSE_S)

    async def _process_info(self, info: dict[str, Any], initial_connection: bool = False) -> None:
        if self._current_server is not None and self._current_server.uri.scheme == "tls":
            info["tls_required"] = True
        await super()._process_info(info, initial_connection)

    async def _process_msg(self, sid: int, subject: bytes, reply: bytes, data: bytes, headers: bytes) -> None:
        callback = self.direct.get(sid)
        if callback is None:
            await super()._process_msg(sid, subject, reply, data, headers)
            return
        try:
            callback(bytes(subject).decode(), bytes(data), bytes(reply).decode() if reply else "", headers or b"")
        except Exception:
            _log.exception("a callback for %s failed", bytes(subject).decode(errors="replace"))


class Connection:
    """A NATS connection of one user.

    Args:
        url: `nats://host:port` or `tls://host:port`, or several, comma separated.
        trust: whose certificate is trusted with TLS (`flowcore.bus.tls`).
        name: what the server's monitoring shows.
        inbox: prefix of this user's reply subjects; its permissions allow no other.
        on_up: called after each (re)connect, when the subscriptions are in place.
        on_down: called when the connection is lost.
        on_refused: called with the server's text when it refuses a publish or a subscription.
    """

    def __init__(
        self,
        url: str,
        *,
        user: str | None = None,
        password: str | None = None,
        name: str = "flowcore",
        inbox: str = "_INBOX",
        trust: str = tls.SYSTEM,
        on_up: Callable[[], None] | None = None,
        on_down: Callable[[], None] | None = None,
        on_refused: Callable[[str], None] | None = None,
    ) -> None:
        self._options: dict[str, Any] = {"servers": url.split(","), "name": name, "inbox_prefix": inbox}
        if user is not None:
            self._options |= {"user": user, "password": password}
        if "tls://" in url or trust != tls.SYSTEM:
            self._options["tls"] = tls.context(trust)
        self._on_up, self._on_down, self._on_refused = on_up, on_down, on_refused
        self._subscriptions: dict[str, Callback] = {}
        self._queues: dict[str, str] = {}
        self._sids: dict[str, Subscription] = {}
        self._closing = False
        self._is_impatient = False
        self._wait_s = _FIRST_WAIT_S
        self._reviving: asyncio.Task | None = None
        self.client = _Client()

    @property
    def is_up(self) -> bool:
        """True while the server is reached."""
        return self.client.is_connected

    async def connect(self, timeout: float | None = None) -> None:
        """Connect, trying until it works.

        Raises:
            TimeoutError: not connected within `timeout` seconds (None: for ever).
            Untrusted: the server's certificate is not trusted, and there is a `timeout`.
        """
        self._is_impatient = timeout is not None
        try:
            async with asyncio.timeout(timeout):
                await self._open()
        except tls.Untrusted:
            self.client = _Client()  # asyncio has closed the connection, and nats-py would wait for its end for ever
            raise
        finally:
            self._is_impatient = False

    async def _open(self) -> None:
        while True:
            self.client = _Client()
            self._sids.clear()  # of the client before: who subscribes from here on does so with this one
            try:
                await self.client.connect(
                    **self._options,
                    max_reconnect_attempts=-1,
                    reconnect_time_wait=self._next_wait(),  # type: ignore[arg-type]  # seconds, as it only sleeps
                    connect_timeout=5,
                    ping_interval=20,
                    max_outstanding_pings=2,
                    error_cb=self._error,
                    disconnected_cb=self._disconnected,
                    reconnected_cb=self._reconnected,
                    closed_cb=self._closed,
                    flusher_queue_size=4096,
                )
                break
            except (OSError, nats.errors.Error, TimeoutError):
                await asyncio.sleep(self._next_wait())
        await self._reconnected()

    def _next_wait(self) -> float:
        """Grows to two seconds, with jitter: a hundred nodes must not come back in one instant."""
        wait_s = self._wait_s * random.uniform(0.5, 1.5)
        self._wait_s = min(self._wait_s * 2, _LONGEST_WAIT_S)
        return wait_s

    async def subscribe(self, subject: str, callback: Callback, queue: str = "") -> None:
        """Call `callback` for each message on `subject`, at once and after every reconnect.

        Of all subscribers that name the same `queue` one gets each message.
        """
        self._subscriptions[subject] = callback
        self._queues[subject] = queue
        if self.client.is_connected:
            await self._subscribe(subject, callback)

    async def _subscribe(self, subject: str, callback: Callback) -> None:
        if subject in self._sids:
            self.client.direct[self._sids[subject]._id] = callback
            return
        # Register before SUB goes out: the first message may come before subscribe() returns.
        self.client.direct[self.client._sid + 1] = callback
        self._sids[subject] = await self.client.subscribe(subject, queue=self._queues.get(subject, ""))

    async def unsubscribe(self, subject: str) -> None:
        """Stop calling back for `subject`; nothing happens when it was not subscribed."""
        self._subscriptions.pop(subject, None)
        subscription = self._sids.pop(subject, None)
        if subscription is not None:
            self.client.direct.pop(subscription._id, None)
            with contextlib.suppress(nats.errors.Error):
                await subscription.unsubscribe()

    def publish(self, subject: str, data: bytes, reply: str = "") -> bool:
        """Send at once; False when the bus is away or does not read (the caller keeps what must not be lost).

        With `reply` it is a request: answers come there, and a message with headers alone when nobody listens.
        """
        client = self.client
        if not client.is_connected or self.unsent_bytes > _MOST_UNSENT or len(data) > client._max_payload:
            return False
        command = b"PUB %b %b %d\r\n%b\r\n" % (subject.encode(), reply.encode(), len(data), data)
        if client._pending:  # something waits for nats-py's flusher: keep the order
            client._pending.append(command)
            client._pending_data_size += len(command)
        else:
            try:
                client._transport.write(command)  # type: ignore[union-attr]  # it is there while connected
            except RuntimeError:  # uvloop's word for a socket that has gone, of which nats-py has not heard yet
                return False
        return True

    @property
    def unsent_bytes(self) -> int:
        """Bytes written here that the socket has not taken yet."""
        writer = getattr(self.client._transport, "_io_writer", None)
        return (writer.transport.get_write_buffer_size() if writer else 0) + self.client._pending_data_size

    @property
    def max_payload(self) -> int:
        """The most bytes that the server takes in one message; one that is larger ends the connection."""
        return self.client._max_payload

    async def request(self, subject: str, data: bytes, timeout: float = 5.0, headers: dict | None = None) -> bytes:
        """Ask and wait for the answer's data.

        Raises:
            NoResponder: nobody listens on `subject`.
            TimeoutError: no answer, or the bus is away.
        """
        try:
            return (await self.client.request(subject, data, timeout=timeout, headers=headers)).data
        except nats.errors.NoRespondersError as e:
            raise NoResponder(f"no answer on {subject}: {e}") from None
        except (nats.errors.Error, OSError) as e:
            raise TimeoutError(f"no answer on {subject}: {e or type(e).__name__}") from None

    def jetstream(self, timeout: float = 5.0) -> JetStreamContext:
        """nats-py's JetStream context on this connection; ask again after a `closed` revival."""
        return self.client.jetstream(timeout=timeout)

    async def flush(self, timeout: float = 2.0) -> None:
        """Wait until the server has seen everything published so far.

        Raises:
            TimeoutError: it did not answer in time, or the bus is away.
        """
        try:
            # nats-py writes its PING ahead of commands that still wait for its flusher, a SUB for example.
            if self.client._pending:
                await self.client._flush_pending(force_flush=True)
            await self.client.flush(timeout=timeout)  # type: ignore[arg-type]
        except nats.errors.Error as e:
            raise TimeoutError(str(e)) from None

    async def close(self) -> None:
        """Send what is written and end; no callback runs afterwards."""
        self._closing = True
        if self._reviving is not None:
            self._reviving.cancel()
        self.client.direct.clear()
        with contextlib.suppress(nats.errors.Error, OSError, TimeoutError, asyncio.CancelledError):
            if self.client.is_connected:
                await self.client.flush(timeout=1)
            if self.client._status != self.client.DISCONNECTED:
                async with asyncio.timeout(_CLOSE_S):  # one cut off in its handshake never says that it is closed
                    await self.client.close()

    async def _error(self, error: Exception) -> None:
        if self._is_impatient and isinstance(error, ssl.SSLError):  # raised here, it ends nats-py's connect
            raise tls.Untrusted(tls.refusal(error))
        self.client.options["reconnect_time_wait"] = self._next_wait()
        text = str(error)
        if "permissions violation" in text.lower() and self._on_refused is not None:
            self._on_refused(text)

    async def _disconnected(self) -> None:
        if not self._closing and self._on_down is not None:
            self._on_down()

    async def _reconnected(self) -> None:
        self._wait_s = _FIRST_WAIT_S
        shortcut.take(self.client, self.client.direct)
        for subject, callback in list(self._subscriptions.items()):
            if subject not in self._sids:  # the others nats-py has sent again by itself
                await self._subscribe(subject, callback)
        if not self._closing and self._on_up is not None:
            self._on_up()

    async def _closed(self) -> None:
        # nats-py closes for good on an authorization error, which a server that is reloading may give once.
        if not self._closing and (self._reviving is None or self._reviving.done()):
            self._reviving = asyncio.get_running_loop().create_task(self._revive())

    async def _revive(self) -> None:
        await asyncio.sleep(self._next_wait())
        await self._open()
