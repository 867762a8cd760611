from datetime import datetime
from typing import Any

from flowcore.node import GiveUp, In, Message, Node, Out, field
from flowcore.node.formats import write
from flowcore_nodes.core.mail import Away, Letter, Post, Refused, attach, attachments, letter

_LINE_BYTES = 2000
_SHORTEST_S = 0.2
_ATTACHED = "attached/"  # attached/<number of the message>/<place>: filename, type, content


class EmailDigest(Node):
    """Collect messages, and send them as one e-mail: every so often, or when there are many.

    Each message is a line with its time and topic; meta.attachments (as at email-out; photos, for instance) are
    attached, the newest that fit. What waits is in the node's state, so that a kill loses none; the
    e-mail is sent again until the server has taken it, and what comes meanwhile is in the next one. Beyond `max_held`
    lines the oldest are left out, and counted in the e-mail.
    """

    type = "core/email-digest"
    title = "E-mail digest"
    category = "network"
    icon = "mails"
    needs = ("aiosmtplib",)
    install = "pip install 'flowcore[mail]'"
    stateful = True
    outside = True

    class Config(Letter):
        every_s: float = field(3600.0, gt=0, le=2_592_000, description="Longest that a message waits, in seconds")
        max_count: int = field(500, ge=1, le=5000, description="So many are sent without waiting longer")
        max_held: int = field(5000, ge=1, le=5000, description="Most messages that wait, while the server is away")
        max_attached: int = field(20, ge=0, le=500, description="Most attachments; older ones are left out")
        max_attached_bytes: int = field(
            6_000_000, ge=0, le=12_000_000, description="Of all attachments that wait together, in bytes"
        )
        retry_s: float = field(
            30.0, gt=0, le=3600, description="Wait before a failed e-mail is tried again, in seconds"
        )

    in_ = In(description="a line of the next e-mail")
    out = Out(dict, description="subject and count, when an e-mail was taken by the server")

    async def on_start(self) -> None:
        self._post = Post(self.config.server)
        self._timer: Any = None

    async def on_go(self) -> None:
        if any(key.isdigit() for key in self.state):
            self._arm(_SHORTEST_S)

    def _keys(self) -> list[str]:
        return sorted(key for key in self.state if key.isdigit())

    def _arm(self, seconds: float) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._timer = self.after(seconds, self._due)

    async def on_message(self, message: Message) -> None:
        try:
            text = write(message.payload, "text").decode()
        except ValueError as e:
            raise GiveUp(str(e)) from None
        try:
            attached = attachments(message.meta.get("attachments"))
        except ValueError as e:
            raise GiveUp(str(e)) from None
        keys = self._keys()
        number = int(keys[-1]) + 1 if keys else 1
        self.state[f"{number:012d}"] = [self.now_s(), message.topic, " ".join(text.split())[:_LINE_BYTES]]
        for place, one in enumerate(attached):
            self.state[f"{_ATTACHED}{number:012d}/{place:04d}"] = list(one)
        if attached:
            self._leave_out_attachments()
        if len(keys) >= self.config.max_held:
            self._forget(keys[0])
            self.state["left_out"] = self.state.get("left_out", 0) + 1
        if len(keys) + 1 == self.config.max_count:
            self._arm(0.0)
        elif not keys:
            self._arm(self.config.every_s)

    def _attached(self, *keys: str) -> list[str]:
        """Keys of the attachments, oldest first; of some messages only."""
        found = sorted(key for key in self.state if key.startswith(_ATTACHED))
        return [key for key in found if not keys or key.split("/")[1] in keys]

    def _leave_out_attachments(self) -> None:
        """The oldest, as far as there are too many or too large ones."""
        config, waiting = self.config, self._attached()
        sizes = {key: len(self.state[key][2]) for key in waiting}
        for key in waiting:
            if len(sizes) <= config.max_attached and sum(sizes.values()) <= config.max_attached_bytes:
                return
            del sizes[key], self.state[key]
            self.state["unattached"] = self.state.get("unattached", 0) + 1

    def _forget(self, key: str) -> None:
        for attached in self._attached(key):
            del self.state[attached]
        del self.state[key]

    async def _due(self) -> dict[str, Any] | None:
        keys = self._keys()
        if not keys:
            return None
        entries = [self.state[key] for key in keys]
        subject = str(self.setting("subject", None) or f"{self.flow}: {len(keys)} messages")
        try:
            identity = f"{self.flow}.{self.id} {keys[0]} {entries[0][0]}"
            made = letter(self.config.sender, self.setting("to", None), subject, identity, self.now_s())
            made.set_content(self._text(entries))
            for key in self._attached():
                attach(made, *self.state[key])
            for name, why in (await self._post.send(made)).items():
                self.report(Refused(f"{name}: {why}"))
        except (Away, Refused, LookupError, ValueError) as e:
            self.set_status(f"{len(keys)} wait; trying again: {self.config.server}: {e}", "error")
            self.report(e)
            self._arm(self.config.retry_s)
            return None
        for key in (*self._attached(*keys), *keys):
            del self.state[key]
        self.state.pop("left_out", None)
        self.state.pop("unattached", None)
        self.set_status(f"{len(keys)} sent by {self.config.server}")
        return {"subject": subject, "count": len(keys)}

    def _text(self, entries: list[list]) -> str:
        lines = [
            f"{datetime.fromtimestamp(at_s).astimezone():%Y-%m-%d %H:%M:%S}  {topic + ': ' if topic else ''}{text}"
            for at_s, topic, text in entries
        ]
        if left_out := self.state.get("left_out"):
            lines.insert(0, f"({left_out} older messages were left out: more than {self.config.max_held} waited)")
        if unattached := self.state.get("unattached"):
            lines.append(f"({unattached} older attachments were left out)")
        return "\n".join(lines) + "\n"
