"""The example flows that exchange messages with other programs over their servers, on a real host."""

import asyncio
import json

import pytest

from tests.flows.test_flows import deploy, example
from tests.nodes.core.redis_server import PASSWORD, RedisPeer


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
