"""What outsiders put into a node's inputs: any client of the bus, `flowcore inject`, the editor's button.

It has no epoch and no number, is never resent, and waits in a queue of its own size.
"""

import json
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from flowcore.bus.envelope import Malformed, json_foreign, unpack_foreign
from flowcore.node.tensors import inline_alone
from flowcore.node.work import Foreign, ForeignInput

_LONGEST_ID = 256


class Outside:
    """The inputs of one process as outsiders reach them, and the counts of what it did not take, wires' frames too.

    Args:
        checks: by input port, what brings a payload into its type's form.
        queue_limit: messages that may wait at one input.
        take: queues works for the engine.
        publish: sends an answer's bytes.
        now_ns: when a message came, nanoseconds UTC.
    """

    def __init__(
        self,
        checks: Mapping[str, Any],
        queue_limit: int,
        take: Callable[[list[Any]], None],
        publish: Callable[[str, bytes], bool],
        now_ns: Callable[[], int],
    ) -> None:
        self.counts = {"malformed": 0, "refused": 0, "overflow": 0}
        self.is_open = False  # from when the process before has ended until this one is told to end
        self.on_malformed: Callable[[str, str], None] = lambda subject, why: None
        self._inputs = {name: ForeignInput(name, check) for name, check in checks.items()}
        self._queue_limit, self._take, self._publish, self._now_ns = queue_limit, take, publish, now_ns

    def malformed(self, subject: str, error: Exception) -> None:
        """Something came that cannot be read."""
        self.counts["malformed"] += 1
        self.on_malformed(subject, str(error))

    def is_forged(self, reply: str, headers: bytes) -> bool:
        """True, and counted, for a wire's frame that the server published for somebody: it has headers or a reply."""
        if reply or headers:
            self.counts["refused"] += 1
            return True
        return False

    def on_message(self, subject: str, data: bytes, reply: str, headers: bytes) -> None:
        """A message on `flow.<flow>.<node>.in.<port>`."""
        if not self.is_open:
            return
        wire = self._inputs.get(subject.rsplit(".", 1)[-1])
        if headers:
            self.counts["refused"] += 1
            return
        if wire is None:
            fault = f"no such input ({self._known})"
            self.malformed(subject, Malformed(fault))
            self._answer(reply, {"ok": False, "error": fault})
            return
        try:
            messages = _read(data, self._now_ns())
        except Malformed as e:
            self.malformed(subject, e)
            self._answer(reply, {"ok": False, "error": str(e)})
            return
        if wire.queued + len(messages) > self._queue_limit:
            self.counts["overflow"] += len(messages)
            self._answer(reply, {"ok": False, "error": f"the queue of {self._queue_limit} is full"})
            return
        self.inject(wire.in_port, messages, lambda: self._answer(reply, {"ok": True}))

    def inject(self, port: str, messages: list[dict], then: Callable[[], None] | None = None) -> None:
        """Queue messages from outside; `then` is called when the last is done.

        Raises:
            LookupError: no such input.
        """
        wire = self._inputs.get(port)
        if wire is None:
            raise LookupError(f"no input '{port}' ({self._known})")
        wire.queued += len(messages)
        works = [Foreign(wire, message) for message in messages]
        if works:
            works[-1].on_finished = then
        self._take(works)

    def queued(self) -> Iterable[int]:
        """How many wait at each input."""
        return (wire.queued for wire in self._inputs.values())

    @property
    def _known(self) -> str:
        return f"it has: {', '.join(self._inputs) or 'none'}"

    def _answer(self, reply: str, body: dict) -> None:
        # A reply subject is the sender's choice: answer inboxes only, or a sender could have us speak on a wire.
        if reply.startswith("_INBOX"):
            self._publish(reply, json.dumps(body).encode())


def _read(data: bytes, now_ns: int) -> list[dict]:
    """What outsiders send: msgpack or JSON; one envelope, or an array of them; `{"payload": 5}` is enough.

    Raises:
        Malformed: neither.
    """
    value = json_foreign(data) if data[:1] in (b"{", b"[") else unpack_foreign(data, ext_hook=inline_alone)
    found = value if isinstance(value, list) else [value]
    messages = []
    for one in found:
        if not isinstance(one, dict) or "payload" not in one:
            raise Malformed('not an envelope: a map with at least {"payload": ...}')
        if not isinstance(one.get("topic", ""), str) or not isinstance(one.get("meta", {}), dict):
            raise Malformed("an envelope's topic is a text, its meta a map")
        kept = {key: one[key] for key in ("payload", "topic", "meta") if key in one}
        for key in ("trace", "parent"):
            if isinstance(one.get(key), str) and len(one[key]) <= _LONGEST_ID:
                kept[key] = one[key]
        for key in ("origin", "deadline"):
            if type(one.get(key)) is int and 0 <= one[key] < 1 << 63:
                kept[key] = one[key]
        kept["ts"] = now_ns
        messages.append(kept)
    return messages
