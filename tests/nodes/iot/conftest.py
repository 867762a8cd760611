"""Real MQTT brokers for the tests: nats-server's listener, and mosquitto where it is installed."""

import asyncio
import shutil
import subprocess
import sys
from pathlib import Path

import aiomqtt
import pytest

from tests.ports import free_port

USER, PASSWORD = "plant", "secret of the plant"


class Broker:
    """A broker as a process of its own; killed and started again it has the same port and the same store."""

    user, password = USER, PASSWORD

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.port = free_port()
        self.process: subprocess.Popen | None = None

    @property
    def url(self) -> str:
        return f"mqtt://127.0.0.1:{self.port}"

    @property
    def config(self) -> dict:
        """What a node's `broker` field takes."""
        return {"url": self.url, "user": self.user, "password": self.password, "longest_wait_s": 0.3}

    def client(self, **options) -> aiomqtt.Client:
        """An ordinary client, not ours."""
        made = aiomqtt.Client("127.0.0.1", self.port, username=self.user, password=self.password, **options)
        made.pending_calls_threshold = 10_000
        return made

    async def publish(self, topic: str, *payloads: bytes | str, qos: int = 1, retain: bool = False) -> None:
        """Publish as a device would; returns when the broker has all of it."""
        async with self.client() as client:
            await asyncio.gather(*(client.publish(topic, payload, qos, retain) for payload in payloads))

    def command(self) -> list[str]:
        raise NotImplementedError

    async def start(self) -> None:
        with (self.folder / "broker.log").open("ab") as log:
            self.process = subprocess.Popen(self.command(), stdout=log, stderr=log)  # noqa: ASYNC220 - killed from sync code
        async with asyncio.timeout(10):
            while True:
                try:
                    _, writer = await asyncio.open_connection("127.0.0.1", self.port)
                    writer.close()
                    return
                except OSError:
                    assert self.process.poll() is None, (self.folder / "broker.log").read_text()
                    await asyncio.sleep(0.01)

    def kill(self) -> None:
        """End it at once, in the middle of whatever it does."""
        if self.process is not None:
            self.process.kill()
            self.process.wait()

    def stop(self) -> None:
        if self.process is not None:
            self.process.terminate()
            self.process.wait(10)


class NatsServer(Broker):
    """nats-server with its MQTT listener, and a user that may only do a little."""

    ack_wait = "2s"  # after so long it sends again what was not confirmed, also over a connection that lives

    def command(self) -> list[str]:
        conf = self.folder / "nats.conf"
        conf.write_text(f"""
server_name: broker_of_a_test
listen: "127.0.0.1:-1"
jetstream {{
  store_dir: "{self.folder}/store"
  sync_interval: always
}}
mqtt {{
  listen: "127.0.0.1:{self.port}"
  ack_wait: "{self.ack_wait}"
}}
accounts {{
  PLANT {{
    jetstream: enabled
    users: [
      {{ user: "{USER}", password: "{PASSWORD}" }}
      {{ user: little, password: little, permissions: {{
          publish: {{ allow: ["actuators.>"] }}, subscribe: {{ allow: ["sensors.*.env"] }} }} }}
    ]
  }}
}}
""")
        return [str(Path(sys.executable).parent / "nats-server"), "-c", str(conf)]


class Mosquitto(Broker):
    """mosquitto, keeping sessions on disk."""

    tls_files: tuple[Path, Path, Path] | None = (
        None  # CA, certificate, key: then it speaks TLS and asks for certificates
    )

    def kill(self) -> None:
        """SIGTERM: mosquitto acks a message before it writes it to its store, so a SIGKILL loses what it had acked."""
        self.stop()

    def command(self) -> list[str]:
        passwords = self.folder / "passwords"
        if not passwords.exists():
            subprocess.run([shutil.which("mosquitto_passwd") or "", "-b", "-c", passwords, USER, PASSWORD], check=True)
            passwords.chmod(0o644)
            self.folder.chmod(0o777)
        conf = self.folder / "mosquitto.conf"
        lines = [
            f"listener {self.port} 127.0.0.1",
            "allow_anonymous false",
            f"password_file {passwords}",
            "persistence true",
            f"persistence_location {self.folder}/",
            "autosave_interval 1",
            "autosave_on_changes true",
            "max_queued_messages 100000",
            "user root",
        ]
        if self.tls_files is not None:
            ca, certificate, key = self.tls_files
            lines += [f"cafile {ca}", f"certfile {certificate}", f"keyfile {key}", "require_certificate true"]
        conf.write_text("\n".join(lines) + "\n")
        return [mosquitto_program() or "", "-c", str(conf)]


def mosquitto_program() -> str | None:
    """mosquitto, also where a user's PATH leaves sbin out."""
    return shutil.which("mosquitto") or shutil.which("mosquitto", path="/usr/sbin:/usr/local/sbin")


needs_mosquitto = pytest.mark.skipif(mosquitto_program() is None, reason="mosquitto is not installed")


@pytest.fixture(params=["nats-server", pytest.param("mosquitto", marks=needs_mosquitto)])
async def broker(request, tmp_path):
    """Each broker in turn, running."""
    made = NatsServer(tmp_path) if request.param == "nats-server" else Mosquitto(tmp_path)
    await made.start()
    yield made
    made.kill()


@pytest.fixture
async def nats_broker(tmp_path):
    """nats-server's MQTT listener, running."""
    made = NatsServer(tmp_path)
    await made.start()
    yield made
    made.kill()


@pytest.fixture
def mosquitto(tmp_path):
    """mosquitto, not started yet; skips where it is not installed."""
    if mosquitto_program() is None:
        pytest.skip("mosquitto is not installed")
    made = Mosquitto(tmp_path)
    yield made
    made.kill()
