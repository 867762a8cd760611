"""Models on the real runtime: what a bad file does to its node, and does not do to the others."""

import asyncio
import json

from flowcore.bus.envelope import unpack
from tests.nodes.ai import nets


def flow(model) -> str:
    """Two branches: one with a model, one without."""
    tick = {"type": "core/inject", "config": {"payload": [1.0, 2.0, 3.0], "every_s": 0.05}}
    nodes = [
        {"id": "a", **tick},
        {"id": "b", **tick},
        {"id": "model", "type": "ai/model", "config": {"model": str(model)}},
        {"id": "shown", "type": "core/debug"},
        {"id": "beside", "type": "core/debug"},
    ]
    wires = [("a.out", "model.in"), ("model.out", "shown.in"), ("b.out", "beside.in")]
    return json.dumps(
        {"flowcore": 1, "id": "two", "nodes": nodes, "wires": [{"from": one, "to": other} for one, other in wires]}
    )


async def test_a_bad_model_is_told_and_disturbs_nothing(host, tmp_path):
    """Not at the first deploy, and not in place of a good one, which goes on; a good one then takes over."""
    shown: dict[str, asyncio.Queue] = {name: asyncio.Queue() for name in ("shown", "beside")}
    for name, queue in shown.items():
        await host.bus.connection.subscribe(
            f"flow.two.{name}.debug", lambda _, data, *__, queue=queue: queue.put_nowait(unpack(data)["value"])
        )

    async def fresh(name):
        while not shown[name].empty():
            shown[name].get_nowait()
        return await shown[name].get()

    statuses: asyncio.Queue = asyncio.Queue()
    await host.bus.connection.subscribe(
        "flow.two.model.status", lambda _, data, *__: statuses.put_nowait(unpack(data)["text"])
    )

    async def says(text):
        while text not in await statuses.get():
            pass

    missing, cut = tmp_path / "later.onnx", tmp_path / "cut.onnx"
    cut.write_bytes(nets.doubler(tmp_path / "good.onnx").read_bytes()[:60])
    async with asyncio.timeout(90):
        await host.documents.deploy(flow(missing), "two.json")
        await says("later.onnx: No such file or directory")
        assert await fresh("beside") == [1.0, 2.0, 3.0]
        await host.documents.deploy(flow(tmp_path / "good.onnx"), "two.json")
        assert (await fresh("shown"))["model"]["name"] == "good"
        await host.documents.deploy(flow(cut), "two.json")
        assert (await fresh("beside")) and (await fresh("shown"))["model"]["name"] == "good"
        await host.documents.deploy(flow(nets.doubler(tmp_path / "other.onnx")), "two.json")
        while (await fresh("shown"))["model"]["name"] != "other":
            pass
