"""S3 nodes against moto's server, a process of its own: no MinIO can be had from a package index."""

import asyncio
import json
import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest
from flowcore_nodes.core.s3_get import S3Get
from flowcore_nodes.core.s3_put import S3Put

from flowcore.node.testing import drive
from tests.certificates import make_certificate
from tests.ports import free_port

NODES, PEER = "core/s3-get, core/s3-put", "moto's server"


class MotoPeer:
    """moto_server; what it stored is gone when it is.

    Args:
        locked: it takes only the keys that it gave out.
        tls: a certificate and its key.
    """

    def __init__(self, locked: bool = False, tls: tuple[Path, Path] | None = None) -> None:
        pytest.importorskip("minio")
        pytest.importorskip("moto")
        self.port = free_port()
        self.url = f"{'https' if tls else 'http'}://127.0.0.1:{self.port}"
        self.config = {"url": self.url, "access_key": "plant", "secret_key": "secret", "timeout_s": 1.0}
        self._tls = ["-s", "-c", str(tls[0]), "-k", str(tls[1])] if tls else []
        # The first three calls make a user, what it may do, and its key; from then on keys are checked.
        self._environ = os.environ | ({"INITIAL_NO_AUTH_ACTION_COUNT": "3"} if locked else {})
        self.start()

    def start(self) -> None:
        quiet, until_s = subprocess.DEVNULL, time.monotonic() + 30
        line = [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(self.port), *self._tls]
        self.process = subprocess.Popen(line, env=self._environ, stdout=quiet, stderr=quiet)
        while True:
            with socket.socket() as probe:
                if probe.connect_ex(("127.0.0.1", self.port)) == 0:
                    return
            assert self.process.poll() is None and time.monotonic() < until_s, "moto_server does not start"
            time.sleep(0.02)

    def kill(self) -> None:
        self.process.kill()
        self.process.wait()


@pytest.fixture(scope="module")
def peer():
    made = MotoPeer()
    yield made
    made.kill()


@pytest.mark.survives(NODES, PEER, "malformed data")
async def test_objects_are_stored_and_fetched(peer):
    """Bytes, texts and maps; what has no key, no bucket, is too large or not there is an error, the others go on."""
    config = {"server": peer.config, "bucket": "pictures"}
    async with (
        drive(S3Put, **config, create=True, max_bytes=2_000_000) as put,
        drive(S3Get, **config, max_bytes=2_000_000) as get,
        drive(S3Get, **config, max_bytes=10) as small,
        drive(S3Put, server=peer.config, bucket="elsewhere") as elsewhere,
    ):
        picture = os.urandom(2_000_000)
        await put.put(picture, topic="line 1/ä.jpg", meta={"content_type": "image/jpeg"})
        await put.put({"t": 21.5}, topic="t.json")
        await put.put("no key")
        await put.put(picture + b"x", topic="large")
        stored = await put.sent_messages(2)
        assert stored[0].meta["s3"]["size"] == 2_000_000
        for key in ("line 1/ä.jpg", "t.json", "nothing"):
            await get.put(None, topic=key)
        got = await get.sent_messages(2)
        assert [one.payload for one in got] == [picture, {"t": 21.5}]
        assert [one.meta["content_type"] for one in got] == ["image/jpeg", "application/json"]
        assert got[0].meta["s3"] == stored[0].meta["s3"]
        await small.put(None, topic="line 1/ä.jpg")
        await elsewhere.put(1, topic="a")
        texts = [one.errors[-1]["text"] for one in (get, small, elsewhere)]
        assert "NoSuchKey" in texts[0] and "more than 10 bytes" in texts[1] and "NoSuchBucket" in texts[2]
        assert "there is no key" in put.errors[0]["text"] and "max_bytes is 2000000" in put.errors[1]["text"]


@pytest.mark.survives(NODES, PEER, "peer restart", "slow peer")
async def test_messages_wait_while_the_server_is_away(peer):
    """Killed and started again, without what it had: within 2 s of its return they go on; stopped: they go on."""
    config = {"server": peer.config, "bucket": "away"}
    async with drive(S3Put, **config, create=True, key={"$message": "topic"}) as put, drive(S3Get, **config) as get:
        await put.put(1, topic="1")
        peer.kill()
        putting = asyncio.create_task(put.put(2, topic="2"))
        await put.wait_for(lambda: put.statuses[-1][1] == "error")
        await asyncio.to_thread(peer.start)
        back_s = time.monotonic()
        await putting
        assert time.monotonic() - back_s < 2.0 and put.statuses[-1][1] == "ok" and len(put.errors) == 1
        os.kill(peer.process.pid, signal.SIGSTOP)
        getting = asyncio.create_task(get.put(None, topic="2"))
        await get.wait_for(lambda: get.statuses and get.statuses[-1][1] == "error")
        os.kill(peer.process.pid, signal.SIGCONT)
        await getting
        assert await get.sent(1) == [2]


@pytest.mark.drill
@pytest.mark.survives(NODES, PEER, "killed in between")
async def test_nothing_is_lost_when_the_node_is_killed(host, peer, tmp_path):
    """On a real runtime: each line of a file becomes an object, over three kills."""
    client = S3(peer)
    (tmp_path / "numbers.txt").write_text("".join(f"{n}\n" for n in range(300)))
    host.secrets.set("s3", peer.config["secret_key"])
    server = peer.config | {"secret_key": {"$secret": "s3"}}
    key = [{"action": "set", "path": "topic", "value": {"$message": "payload"}}]
    nodes = [
        {"id": "read", "type": "core/file-in", "config": {"path": str(tmp_path / "numbers.txt")}},
        {"id": "key", "type": "core/change", "config": {"rules": key}},
        {
            "id": "put", "type": "core/s3-put", "settings": {"restart": {"limit": 100}},
            "config": {"server": server, "bucket": "killed", "create": True},
        },
    ]  # fmt: skip
    wires = [{"from": "read.out", "to": "key.in"}, {"from": "key.out", "to": "put.in"}]
    await host.documents.deploy(json.dumps({"flowcore": 1, "id": "line", "nodes": nodes, "wires": wires}), "line.json")
    for count in (30, 90, 150):
        await client.has("killed", count)
        (put,) = [node for node in host.status("line")[0].nodes if node.node == "put"]
        os.kill(put.pid, signal.SIGKILL)
    assert await client.has("killed", 300) == {str(n) for n in range(300)}


class S3:
    """Another program."""

    def __init__(self, peer: MotoPeer) -> None:
        from minio import Minio

        self._client = Minio(peer.url.partition("//")[2], "plant", "secret", secure=False)

    async def has(self, bucket: str, count: int) -> set[str]:
        """The keys in a bucket, once there are so many."""
        async with asyncio.timeout(60):
            while True:
                found = await asyncio.to_thread(self._keys, bucket)
                if len(found) >= count:
                    return found
                await asyncio.sleep(0.02)

    def _keys(self, bucket: str) -> set[str]:
        from minio.error import S3Error

        try:
            return {one.object_name or "" for one in self._client.list_objects(bucket)}
        except S3Error:  # there is none yet
            return set()


@pytest.mark.survives(NODES, PEER, "wrong password")
async def test_a_wrong_key_or_certificate_is_told_and_tried_again(tmp_path):
    """Over TLS, where keys are checked; with the right ones it gets in. A file that is none is named."""
    boto3 = pytest.importorskip("boto3")
    certificate, key = make_certificate(tmp_path)
    peer = MotoPeer(locked=True, tls=(certificate, key))
    try:
        someone = {"aws_access_key_id": "a", "aws_secret_access_key": "b", "region_name": "us-east-1"}
        iam = boto3.client("iam", endpoint_url=peer.url, verify=str(certificate), **someone)
        iam.create_user(UserName="plant")
        rights = {"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": "*", "Resource": "*"}]}
        iam.put_user_policy(UserName="plant", PolicyName="all", PolicyDocument=json.dumps(rights))
        made = iam.create_access_key(UserName="plant")["AccessKey"]
        keys = {"access_key": made["AccessKeyId"], "secret_key": made["SecretAccessKey"]}
        right = peer.config | keys | {"tls_ca": str(certificate)}
        async with drive(S3Put, server=right, bucket="locked", create=True) as put:
            await put.put(1, topic="1")
            assert await put.sent() == [1]
        for wrong, why in (
            ({"secret_key": "another"}, "SignatureDoesNotMatch"),
            ({"tls_ca": ""}, "certificate verify"),
        ):
            async with drive(S3Get, server=right | wrong, bucket="locked") as get:
                getting = asyncio.create_task(get.put(None, topic="1"))
                await get.wait_for(lambda get=get, why=why: why in str(get.statuses))
                assert not getting.done() and len(get.errors) == 1
                getting.cancel()
    finally:
        peer.kill()
    with pytest.raises(ValueError, match=r"tls_ca.*missing\.pem"):
        async with drive(S3Put, server=right | {"tls_ca": str(tmp_path / "missing.pem")}, bucket="locked"):
            pass


@pytest.mark.parametrize("url", ["ftp://a", "https://user@host", "http://host/path"])
async def test_wrong_settings_are_refused(url):
    pytest.importorskip("minio")
    with pytest.raises(ValueError, match="url is http"):
        async with drive(S3Put, server={"url": url}, bucket="abc"):
            pass
