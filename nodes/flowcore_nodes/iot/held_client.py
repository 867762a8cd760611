"""aiomqtt's client, changed so that the broker hears of a message's safety only when we say so.

paho has `manual_ack_set`, and it is not enough: with it a QoS 2 message is confirmed (PUBREC) the moment it arrives,
and the broker forgets it then, so a process that is killed before it has passed the message on has lost it. Here PUBACK
and PUBREC are both held until `confirm`; a QoS 2 message is passed on at its PUBLISH (method B of MQTT 3.1.1, 4.3.3),
and PUBREL is answered at once. Reading can be paused too: the only way to push back on a broker.

Leans on private parts of aiomqtt 2 and paho 2, named in `HeldClient.__init__`; `tests/nodes/iot` fails when one goes.
"""

import asyncio
import logging
from typing import Any, Protocol

import aiomqtt
from paho.mqtt.client import MQTTMessage
from paho.mqtt.enums import MQTTErrorCode

_quiet = logging.getLogger("flowcore.mqtt")  # what aiomqtt has to say, the link says in one status and one report
_quiet.setLevel(logging.CRITICAL)


class Listener(Protocol):
    """Who hears of what a client receives; called on the event loop, in order of arrival."""

    def session_began(self, kept: bool) -> None:
        """The broker has accepted us; `kept`: it remembers our session."""

    def arrived(self, client: "HeldClient", message: MQTTMessage) -> None:
        """A message, to be confirmed when its QoS is above 0."""

    def released(self, mid: int) -> None:
        """The broker has let go of a confirmed QoS 2 message: its id may be used again."""


class HeldClient(aiomqtt.Client):
    """One connection. It keeps no queue: `listener` is called for each message."""

    def __init__(self, *args: Any, listener: Listener, **options: Any) -> None:
        super().__init__(*args, logger=_quiet, **options)
        self.pending_calls_threshold = 100_000  # many publishes in flight are meant
        self.is_paused = False
        self._listener = listener
        paho: Any = self._client
        self._confirmations = {1: paho._send_puback, 2: paho._send_pubrec}
        self._send_pubcomp = paho._send_pubcomp
        paho._send_puback = lambda mid: MQTTErrorCode.MQTT_ERR_SUCCESS  # called after the message was handed over
        paho._send_pubrec = self._hold_pubrec
        paho._send_pubcomp = self._answer_pubrel

    def confirm(self, mid: int, qos: int) -> None:
        """Tell the broker that this message is safe; nothing happens when the connection is gone."""
        if not self._disconnected.done():
            self._confirmations[qos](mid)

    def _on_connect(self, client: Any, userdata: Any, flags: Any, reason_code: Any, properties: Any = None) -> None:
        if not reason_code.is_failure and not self._connected.done():
            self._listener.session_began(bool(flags.session_present))
        super()._on_connect(client, userdata, flags, reason_code, properties)

    def _on_disconnect(self, client: Any, userdata: Any, flags: Any, reason_code: Any, properties: Any = None) -> None:
        if not self._connected.done():  # aiomqtt would wait out its time
            self._connected.set_exception(aiomqtt.MqttError("cut off before the broker answered"))
        super()._on_disconnect(client, userdata, flags, reason_code, properties)

    def _on_message(self, client: Any, userdata: Any, message: MQTTMessage) -> None:
        if message.qos != 2:  # paho hands QoS 2 over at PUBREL; it was taken at PUBLISH
            self._listener.arrived(self, message)

    def _hold_pubrec(self, mid: int) -> MQTTErrorCode:
        self._loop.call_soon(self._take, mid)  # paho stores the message right after this call
        return MQTTErrorCode.MQTT_ERR_SUCCESS

    def _take(self, mid: int) -> None:
        message = self._client._in_messages.get(mid)
        if message is not None:
            self._listener.arrived(self, message)

    def _answer_pubrel(self, mid: int) -> MQTTErrorCode:
        self._listener.released(mid)
        return self._send_pubcomp(mid)

    def pause(self) -> None:
        """Read nothing more: what the broker sends waits in the socket, then at the broker."""
        sock = self._client.socket()
        if sock is not None and not self.is_paused:
            self.is_paused = True
            self._loop.remove_reader(sock.fileno())

    def resume(self) -> None:
        """Read again."""
        sock = self._client.socket()
        if sock is not None and self.is_paused:
            self._loop.add_reader(sock.fileno(), self._read)
            self._loop.call_soon(self._read)  # what TLS has already decrypted wakes no selector
        self.is_paused = False

    def abandon(self) -> None:
        """Close the socket, whatever state the connection is in."""
        self._client._sock_close()
        for future in (self._connected, self._disconnected):
            if future.done() and not future.cancelled():
                future.exception()  # it has been seen

    def _on_socket_register_write(self, client: Any, userdata: Any, sock: Any) -> None:
        self._loop.call_soon_threadsafe(self._watch_for_writing, sock)

    def _watch_for_writing(self, sock: Any) -> None:
        if sock.fileno() >= 0:  # it may have been closed since
            self._loop.add_writer(sock.fileno(), self._write)

    def _write(self) -> None:
        try:
            self._client.loop_write()
        except Exception as error:
            self._fail(error)

    def _read(self) -> None:
        try:
            while not self.is_paused:
                self._client.loop_read()
                sock: Any = self._client.socket()
                if sock is None or not hasattr(sock, "pending") or not sock.pending():
                    return
        except Exception as error:
            self._fail(error)

    def _fail(self, error: Exception) -> None:
        if not self._disconnected.done():
            self._disconnected.set_exception(error)

    async def _misc_loop(self) -> None:
        while True:
            if self.is_paused:
                self._client._ping_t = 0.0  # the answer to our ping waits in the socket, unread
            if self._client.loop_misc() != MQTTErrorCode.MQTT_ERR_SUCCESS:
                return
            await asyncio.sleep(1)
