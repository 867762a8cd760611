"""E-mail nodes against aiosmtpd, a real mail server, with TLS and a password."""

import asyncio
import email
import ssl
from email import policy

import pytest

from tests.ports import free_port

pytest.importorskip("aiosmtplib")
from aiosmtpd.controller import Controller
from aiosmtpd.smtp import AuthResult
from flowcore_nodes.core.email_digest import EmailDigest
from flowcore_nodes.core.email_out import EmailOut

from flowcore.node.testing import MemoryStore, drive
from tests.certificates import make_certificate


class Server:
    """Takes what comes from `plant` with the password; refuses what it was told to."""

    def __init__(self, folder) -> None:
        self.cert, key = make_certificate(folder)
        self._tls = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        self._tls.load_cert_chain(self.cert, key)
        self.got: list = []
        self.answers: list[str] = []
        self.is_slow = False  # it says nothing more when it has a message
        self.port = free_port()
        self.start()

    async def handle_RCPT(self, server, session, envelope, address, options):
        if address.startswith("nobody"):
            return "550 no such user"
        envelope.rcpt_tos.append(address)
        return "250 OK"

    async def handle_DATA(self, server, session, envelope):
        while self.is_slow:  # noqa: ASYNC110 - it is set in another thread
            await asyncio.sleep(0.01)
        if self.answers:
            return self.answers.pop(0)
        self.got.append((envelope.rcpt_tos, email.message_from_bytes(envelope.content, policy=policy.default)))
        return "250 taken"

    def _let_in(self, server, session, envelope, mechanism, data):
        return AuthResult(success=(data.login, data.password) == (b"plant", b"secret"), handled=False)

    def start(self) -> None:
        self._controller = Controller(
            self, "127.0.0.1", self.port, tls_context=self._tls, require_starttls=True, authenticator=self._let_in,
            auth_required=True,
        )  # fmt: skip
        self._controller.start()

    def stop(self) -> None:
        self._controller.stop()

    def config(self, **other) -> dict:
        server = {
            "host": "127.0.0.1",
            "port": self.port,
            "user": "plant",
            "password": "secret",
            "tls_ca": str(self.cert),
        }
        return {
            "server": server | other,
            "sender": "Plant <plant@example.org>",
            "to": ["a@example.org", "b@example.org"],
        }


@pytest.fixture
def server(tmp_path):
    made = Server(tmp_path)
    yield made
    made.stop()


async def test_a_message_is_an_email(server):
    async with drive(EmailOut, **server.config()) as node:
        meta = {
            "html": "<b>hot</b>",
            "attachments": [{"filename": "log.txt", "content": "a;b", "type": "text/plain"}],
            "to": "c@example.org",
        }
        await node.put("too hot: 85 °C", topic="press\r\nBcc: evil@example.org", meta=meta)
        await node.put({"alarm": 1}, topic="press")
        assert len(await node.sent()) == 2
    (to, first), (both, second) = server.got
    assert to == ["c@example.org"] and both == ["a@example.org", "b@example.org"]
    assert first["Subject"] == "press Bcc: evil@example.org" and first["From"] == "Plant <plant@example.org>"
    assert first.get_body(("plain",)).get_content().strip() == "too hot: 85 °C"
    assert first.get_body(("html",)).get_content().strip() == "<b>hot</b>"
    assert [part.get_filename() for part in first.iter_attachments()] == ["log.txt"]
    assert second.get_content().strip() == '{"alarm":1}' and first["Message-ID"] != second["Message-ID"]


@pytest.mark.survives("core/email-out", "aiosmtpd", "peer restart", "wrong password", "malformed data")
async def test_messages_wait_for_the_server_and_bad_ones_do_not_hold_it_up(server):
    async with drive(EmailOut, **server.config()) as node:
        await node.put(1, meta={"to": "no address"})
        await node.put(2, meta={"to": ["nobody@example.org"]})
        await node.put(3, meta={"to": ["nobody@example.org", "a@example.org"]})
        server.answers = ["451 later please", "554 looks like spam"]
        await node.put("4")  # greylisted, then refused
        texts = [error["text"] for error in node.errors]
        for text, why in zip(texts, ("no e-mail address", "550", "550", "451", "554"), strict=True):
            assert why in text
        assert await node.sent() == [3]
        await asyncio.to_thread(server.stop)
        putting = asyncio.create_task(node.put("5", "6"))
        await node.wait_for(lambda: node.statuses[-1][1] == "error")
        await asyncio.to_thread(server.start)
        await putting
        assert await node.sent() == [3, "5", "6"] and node.statuses[-1][1] == "ok"
    async with drive(EmailOut, **server.config(password="wrong")) as node:
        putting = asyncio.create_task(node.put("7"))
        await node.wait_for(lambda: node.statuses and "does not let us in" in node.statuses[-1][0])
        putting.cancel()


@pytest.mark.survives("core/email-digest", "aiosmtpd", "malformed data")
async def test_a_digest_has_the_newest_photos_that_fit(server):
    """Kept over a restart; how many were left out is in the text."""
    store, config = MemoryStore(), server.config() | {"every_s": 600, "max_attached": 3, "max_attached_bytes": 100}

    def photo(n: int, size: int = 30) -> dict:
        return {"attachments": [{"filename": f"{n}.jpg", "type": "image/jpeg", "content": bytes([n]) * size}]}

    async with drive(EmailDigest, store=store, **config) as node:
        for n in range(4):
            await node.put({"event": n}, meta=photo(n))
        await node.put("large", meta=photo(4, 101))
        await node.put("bad", meta={"attachments": ["no map"]})
        await node.put("two", meta=photo(5, 40))
        await node.put("more", meta=photo(6, 60))
        assert "an attachment is a map" in node.errors[0]["text"]
        left = store.copy()
    async with drive(EmailDigest, store=left, **config) as node:
        await node.advance(1)
        await node.wait_for(lambda: len(server.got) == 1)
        (_, made) = server.got[0]
        assert [(one.get_filename(), len(one.get_content())) for one in made.iter_attachments()] == [
            ("5.jpg", 40),
            ("6.jpg", 60),
        ]
        assert made.get_body(("plain",)).get_content().splitlines()[-1] == "(5 older attachments were left out)"
        await node.sent(1)
        assert not [*node.node.state]


@pytest.mark.survives("core/email-digest", "aiosmtpd", "peer restart", "killed in between")
async def test_a_digest_collects_and_survives_a_kill(server):
    store = MemoryStore()
    config = server.config() | {"every_s": 600, "max_count": 5, "max_held": 6, "retry_s": 60}
    async with drive(EmailDigest, store=store, **config) as node:
        await node.put("one", "two\nlines", topic="press")
        await node.advance(500)
        assert server.got == []
        left = store.copy()
    async with drive(EmailDigest, store=left, **config) as node:
        await node.advance(1)
        await node.wait_for(lambda: len(server.got) == 1)
        assert [line.split("  ")[1] for line in server.got[0][1].get_content().splitlines()] == [
            "press: one",
            "press: two lines",
        ]
        assert await node.sent(1) == [{"subject": "test: 2 messages", "count": 2}]
        await asyncio.to_thread(server.stop)
        await node.put(*range(8))
        await node.advance(0.1)
        await node.wait_for(lambda: node.statuses[-1][1] == "error")
        await asyncio.to_thread(server.start)
        await node.advance(61)
        await node.wait_for(lambda: len(server.got) == 2)
        lines = server.got[1][1].get_content().splitlines()
        assert "2 older messages were left out" in lines[0] and [line[-1] for line in lines[1:]] == list("234567")
        await node.put("last")
        await node.advance(599)
        assert len(server.got) == 2
        await node.advance(2)
        await node.wait_for(lambda: len(server.got) == 3)


@pytest.mark.survives("core/email-out", "aiosmtpd", "slow peer")
@pytest.mark.survives("core/email-digest", "aiosmtpd", "wrong password", "slow peer")
async def test_a_slow_server_is_asked_again_and_a_wrong_password_told(server):
    """Whoever asks again has the same Message-ID: a server that had it after all has it twice, and knows."""
    digest = server.config(timeout_s=0.3) | {"every_s": 10, "retry_s": 60}
    async with drive(EmailOut, **server.config(timeout_s=0.3)) as node, drive(EmailDigest, **digest) as collected:
        server.is_slow = True
        putting = asyncio.create_task(node.put("out"))
        await collected.put("in the digest")
        await collected.advance(10)
        for one in (node, collected):
            await one.wait_for(lambda one=one: one.statuses and "trying again" in one.statuses[-1][0])
        assert not putting.done() and not await collected.sent()
        server.is_slow = False
        await putting
        await collected.advance(61)
        assert await node.sent(1) == ["out"] and (await collected.sent(1))[0]["count"] == 1
    letters = {made["Message-ID"]: made.get_content() for _, made in server.got}
    assert len(letters) == 2 and {text.split()[-1] for text in letters.values()} == {"out", "digest"}
    config = server.config(password="wrong") | {"every_s": 10, "retry_s": 60}
    async with drive(EmailDigest, **config) as node:
        await node.put("kept")
        await node.advance(10)
        await node.wait_for(lambda: node.statuses and "does not let us in" in node.statuses[-1][0])
        left = node.store.copy()
    async with drive(EmailDigest, store=left, **server.config() | {"every_s": 10}) as node:
        await node.advance(1)
        assert (await node.sent(1))[0]["count"] == 1
