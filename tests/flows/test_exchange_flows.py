"""The example flows that exchange messages with other programs over their servers, on a real host."""

import asyncio
import contextlib
import io
import json

import nats
import pytest
from nats.js.errors import NotFoundError

from tests.flows.test_flows import deploy, example
from tests.nodes.core.nats_peer import PASSWORD as NATS_PASSWORD
from tests.nodes.core.nats_peer import USER, NatsPeer
from tests.nodes.core.redis_server import PASSWORD, RedisPeer
from tests.nodes.core.test_s3 import MotoPeer


async def test_jobs_are_done_and_large_ones_told(host, tmp_path):
    """Any program puts jobs in and finds their results, by a real redis-server."""
    pytest.importorskip("redis")
    peer = RedisPeer(tmp_path)
    peer.start()
    try:
        document = example("jobs", PORT=peer.port)
        host.secrets.set("redis", PASSWORD)
        document["resources"]["plant"]["config"]["password"] = {"$secret": "redis"}
        with peer.client() as redis:
            for pieces in (3, 300):
                redis.xadd("jobs", {"payload": json.dumps({"order": 7, "pieces": pieces})})
            heard = redis.pubsub()
            heard.subscribe("news")
            await deploy(host, document)
            news: list[dict] = []
            async with asyncio.timeout(30):
                while redis.xlen("results") < 2 or len(news) < 2:
                    redis.publish("urgent.press", '{"stop": true}')
                    await asyncio.sleep(0.05)
                    while (one := heard.get_message()) is not None:
                        if one["type"] == "message" and json.loads(one["data"]) not in news:
                            news.append(json.loads(one["data"]))
            results = [json.loads(fields[b"payload"]) for _, fields in redis.xrange("results")]
            heard.close()
    finally:
        peer.kill()
    assert results == [{"order": 7, "pieces": pieces, "done": True} for pieces in (3, 300)]
    assert {"stop": True} in news and results[1] in news


async def test_recipes_and_orders_go_between_nats_and_s3(host, tmp_path):
    """By a second nats-server and moto's server."""
    peer, store = NatsPeer(tmp_path), MotoPeer()
    from minio import Minio
    from minio.error import S3Error

    peer.start()
    try:
        s3 = Minio(store.url.removeprefix("http://"), "plant", "secret", secure=False)
        s3.make_bucket("recipes")
        s3.put_object("recipes", "bolt.json", io.BytesIO(b'{"force_kn": 12}'), 16)
        client = await nats.connect(peer.url, user=USER, password=NATS_PASSWORD, allow_reconnect=False)
        site = client.jetstream()
        await site.add_stream(name="ORDERS", subjects=["orders.>"])
        await site.add_stream(name="REPORTS", subjects=["reports.>"])
        await (await site.create_key_value(bucket="limits")).put("press.4", b"80")
        await site.publish("orders.new", b'{"order": "A-7", "machine": "press.4"}')
        await (await site.create_key_value(bucket="recipes")).put("press.4", b'{"object": "bolt.json"}')
        host.secrets.set("s3", "secret")
        host.secrets.set("nats", NATS_PASSWORD)
        document = example("recipes", NATS=peer.url, S3=store.url)
        document["resources"]["site"]["config"] |= {"user": USER, "password": {"$secret": "nats"}}
        await deploy(host, document)
        reports = await site.pull_subscribe("reports.>", durable="test")
        (report,) = await reports.fetch(1, timeout=30)

        async def there(get, missing):
            async with asyncio.timeout(30):
                while True:
                    with contextlib.suppress(missing):
                        return await get()
                    await asyncio.sleep(0.05)

        async def of_machines():
            return await (await site.object_store("machines")).get("press.4")

        async def of_archive():
            return json.loads(s3.get_object("orders", "A-7").read())

        placed, archived = await there(of_machines, NotFoundError), await there(of_archive, S3Error)
        await client.close()
    finally:
        peer.kill()
        store.kill()
    assert (report.data, placed.data) == (b"80", b'{"force_kn": 12}')
    assert archived == {"order": "A-7", "machine": "press.4"}
