import asyncio
from email.message import EmailMessage

from flowcore.node import GiveUp, In, Message, Node, Out, field
from flowcore.node.formats import write
from flowcore_nodes.core.mail import Away, Letter, Post, Refused, attach, attachments, letter

_FIRST_WAIT_S, _LONGEST_WAIT_S = 0.2, 2.0


class EmailOut(Node):
    """Send each message as an e-mail.

    A text is its content, all else is written as JSON; meta.html is beside it for those who read HTML,
    meta.attachments a list of maps of filename, content and type. A message is done when the server has taken it.
    While the server is away, does not let us in or asks for patience messages wait in order; what it refuses for good
    is an error. After a crash a message may be sent twice: it has the same Message-ID then.
    """

    type = "core/email-out"
    title = "E-mail out"
    category = "network"
    icon = "mail"
    needs = ("aiosmtplib",)
    install = "pip install 'flowcore[mail]'"
    outside = True

    class Config(Letter):
        max_bytes: int = field(10 << 20, ge=1000, description="Largest message with its attachments, in bytes")

    in_ = In(description="content; meta.to, meta.html, meta.attachments")
    out = Out(description="the message, when the server has it")

    async def on_start(self) -> None:
        self._post = Post(self.config.server)
        self._is_away = False

    async def on_message(self, message: Message) -> Message:
        try:
            made = self._letter(message)
        except (LookupError, TypeError, ValueError) as e:
            raise GiveUp(str(e)) from None
        wait_s = _FIRST_WAIT_S
        while True:
            try:
                for name, why in (await self._post.send(made)).items():
                    self.report(Refused(f"{name}: {why}"), message)
                break
            except Refused as e:
                raise GiveUp(f"{self.config.server}: {e}") from None
            except Away as e:
                self._show(str(e))
                await asyncio.sleep(wait_s)
                wait_s = min(wait_s * 2, _LONGEST_WAIT_S)
        self._show("")
        return message

    def _letter(self, message: Message) -> EmailMessage:
        subject = str(self.setting("subject", message) or message.topic or f"{self.flow}.{self.id}")
        identity = f"{self.flow}.{self.id} {message.id} {message.trace} {message.ts_ns}"
        made = letter(
            self.config.sender, message.meta.get("to") or self.setting("to", message), subject, identity, self.now_s()
        )
        made.set_content(write(message.payload, "text").decode() + "\n")
        if isinstance(html := message.meta.get("html"), str):
            made.add_alternative(html, subtype="html")
        for one in attachments(message.meta.get("attachments")):
            attach(made, *one)
        if (size := len(made.as_bytes())) > self.config.max_bytes:
            raise ValueError(f"the e-mail has {size} bytes, max_bytes is {self.config.max_bytes}")
        return made

    def _show(self, trouble: str) -> None:
        if trouble and not self._is_away:
            self.report(Away(f"{self.config.server}: {trouble}"))
        self._is_away = bool(trouble)
        text = f"trying again: {self.config.server}: {trouble}" if trouble else f"sent by {self.config.server}"
        self.set_status(text, "error" if trouble else "ok")
