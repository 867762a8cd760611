"""How e-mail leaves: a server, and one message for it. What the e-mail nodes share.

Refused   the server will never take this message
Away      it can't be reached, does not take us, or asks for patience: trying again makes sense
"""

import hashlib
from email.message import EmailMessage
from email.utils import formataddr, formatdate, parseaddr
from typing import Any, Literal

from pydantic import field_validator

from flowcore.node import NodeConfig, field
from flowcore_nodes.core.tls import trusting


class Refused(ValueError):
    """For good."""


class Away(ConnectionError):
    """For now."""


class MailServer(NodeConfig):
    """A mail server that takes messages from us; as a resource `core/mail-server` nodes share it."""

    host: str = field(..., min_length=1, description="Name of the server")
    port: int = field(587, ge=1, le=65535, description="Port: 587 with starttls, 465 with tls, 25")
    tls: Literal["starttls", "tls", "none"] = field(
        "starttls", description="starttls: encrypted after a greeting, or not at all; tls: from the start; none: never"
    )
    tls_ca: str = field("", description="File with the certificates to trust (PEM); empty: those of the system")
    user: str = field("", description="User; empty: none")
    password: str = field("", secret=True, description="Password of the user")
    timeout_s: float = field(30.0, gt=0, le=600, description="Longest wait for an answer, in seconds")

    def __str__(self) -> str:
        return f"{self.host}:{self.port}"


class Letter(NodeConfig):
    """From whom and to whom."""

    server: MailServer = field(..., description='The mail server, or {"$use": "name"} of a resource core/mail-server')
    sender: str = field(..., description="Address it comes from: plant@example.org, or Plant <plant@example.org>")
    to: list[str] = field([], dynamic=True, description="Addresses it goes to; or meta.to of the message")
    subject: str = field("", dynamic=True, description="Subject; empty: the message's topic")

    @field_validator("sender")
    @classmethod
    def _is_address(cls, text: str) -> str:
        return address(text)


def address(text: Any) -> str:
    """An address, with or without a name.

    Raises:
        ValueError: it is none.
    """
    name, plain = parseaddr(text) if isinstance(text, str) and "\n" not in text and "\r" not in text else ("", "")
    begin, _, end = plain.partition("@")
    if not begin or not end or " " in plain:
        raise ValueError(f"{text!r} is no e-mail address")
    return formataddr((name, plain))


def letter(sender: str, to: Any, subject: str, identity: str, now_s: float) -> EmailMessage:
    """A message without content.

    Args:
        identity: what makes it this one; sent twice it has the same Message-ID.
    Raises:
        ValueError: an address is none.
    """
    made = EmailMessage()
    made["From"] = sender
    receivers = [to] if isinstance(to, str) else to
    if not isinstance(receivers, list) or not receivers:
        raise ValueError("nobody to send it to: set `to`, or meta.to")
    made["To"] = ", ".join(address(one) for one in receivers)
    made["Subject"] = " ".join(subject.split())[:500]
    made["Date"] = formatdate(now_s)
    made["Message-ID"] = f"<{hashlib.sha256(identity.encode()).hexdigest()[:32]}@{parseaddr(sender)[1].split('@')[1]}>"
    made["Auto-Submitted"] = "auto-generated"
    return made


def attachments(given: Any) -> list[tuple[str, str, bytes]]:
    """Filename, type and content of each of meta.attachments.

    Raises:
        ValueError: one has no content.
    """
    found = []
    for one in given or ():
        if not isinstance(one, dict) or not isinstance(one.get("content"), (str, bytes)):
            raise ValueError("an attachment is a map of filename, content (text or bytes) and type")
        content = one["content"].encode() if isinstance(one["content"], str) else one["content"]
        kind = str(one.get("type") or "application/octet-stream")
        found.append((str(one.get("filename") or "attachment"), kind, content))
    return found


def attach(made: EmailMessage, filename: str, kind: str, content: bytes) -> None:
    """Put an attachment into a message."""
    main, _, sub = kind.partition("/")
    made.add_attachment(content, main, sub or "octet-stream", filename=filename)


class Post:
    """Sends messages, a connection each.

    Raises:
        ValueError: a certificate file can't be read.
    """

    def __init__(self, server: MailServer) -> None:
        self._server = server
        self._tls = trusting(server.tls_ca)

    async def send(self, message: EmailMessage) -> dict[str, str]:
        """Returns when the server has it: the receivers that it refused, and why. Raises Refused, Away."""
        import aiosmtplib

        server = self._server
        try:
            refused, _ = await aiosmtplib.send(
                message, hostname=server.host, port=server.port, timeout=server.timeout_s,
                username=server.user or None, password=server.password or None,
                use_tls=server.tls == "tls", start_tls=server.tls == "starttls", tls_context=self._tls,
            )  # fmt: skip
        except aiosmtplib.SMTPAuthenticationError as e:
            raise Away(f"it does not let us in: {e.code} {e.message}") from None
        except aiosmtplib.SMTPRecipientsRefused as e:
            answers = [(one.code, f"{one.recipient}: {one.code} {one.message}") for one in e.recipients]
            kind = Refused if all(code >= 500 for code, _ in answers) else Away
            raise kind("; ".join(text for _, text in answers)) from None
        except aiosmtplib.SMTPResponseException as e:
            raise (Refused if 500 <= e.code < 600 else Away)(f"{e.code} {e.message}") from None
        except (aiosmtplib.SMTPException, OSError, TimeoutError) as e:
            raise Away(str(e) or type(e).__name__) from None
        return {name: f"{answer.code} {answer.message}" for name, answer in refused.items()}
