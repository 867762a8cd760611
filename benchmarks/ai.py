"""What `ai/model` adds to the engine under it: `python -m benchmarks.ai [runs] [seconds]`, some two minutes.

Flows on a real host: `core/inject` sends as fast as its wire takes it, `ai/model` answers, and what it publishes is
listened to. Beside each flow, in turn with it, the bare ONNX Runtime in a loop, in a process of its own with the same
threads and session options. Prints the load of the machine, and with the median of the runs:

    overhead    from taking a message to handing over its answer, without the engine's part
    rate        of a model of 20 ms and more: the flow's against the bare loop's
    batching    eight at once against one by one: how much faster, in the flow and bare
"""

import asyncio
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from flowcore.bus.envelope import unpack
from flowcore.runtime.host import Host
from flowcore.runtime.options import HostOptions

WIDTH, BATCH = 1024, 8
_WARM_S = 1.0


def dense(path: Path, layers: int) -> Path:
    """A network of so many layers of 1024 x 1024: 4 MB of weights each, read anew for each run."""
    rng = np.random.default_rng(1)
    weights = [rng.standard_normal((4, WIDTH)).astype(np.float32)]
    weights += [(rng.standard_normal((WIDTH, WIDTH)) / WIDTH**0.5).astype(np.float32) for _ in range(layers)]
    nodes, last = [], "x"
    for k in range(len(weights)):
        nodes += [
            helper.make_node("MatMul", [last, f"w{k}"], [f"m{k}"]),
            helper.make_node("Tanh", [f"m{k}"], [f"h{k}"]),
        ]
        last = f"h{k}"
    nodes.append(helper.make_node("ReduceMean", [last], ["y"], axes=[1], keepdims=1))
    given = helper.make_tensor_value_info("x", TensorProto.FLOAT, ["batch", 4])
    made = helper.make_tensor_value_info("y", TensorProto.FLOAT, ["batch", 1])
    constants = [numpy_helper.from_array(one, f"w{k}") for k, one in enumerate(weights)]
    graph = helper.make_graph(nodes, "dense", [given], [made], constants)
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9), path)
    return path


def bare(path: Path, batch: int, seconds: float) -> tuple[float, float]:
    """ONNX Runtime alone, in a process of its own: rows a second, processor milliseconds a row."""
    line = [sys.executable, "-m", "benchmarks.ai", "--bare", str(path), str(batch), str(seconds)]
    rate, cpu_ms = subprocess.run(line, capture_output=True, text=True, check=True).stdout.split()
    return float(rate), float(cpu_ms)


def _bare(path: str, batch: int, seconds: float) -> tuple[float, float]:
    import onnxruntime

    settings = onnxruntime.SessionOptions()
    settings.intra_op_num_threads = 1
    settings.add_session_config_entry("session.intra_op.allow_spinning", "0")
    session = onnxruntime.InferenceSession(path, settings, providers=["CPUExecutionProvider"])
    x = np.full((batch, 4), 0.5, np.float32)
    until_s, rows = time.perf_counter() + _WARM_S, 0
    while time.perf_counter() < until_s:
        session.run(None, {"x": x})
    began_s, began_cpu_s = time.perf_counter(), time.process_time()
    while time.perf_counter() < began_s + seconds:
        session.run(None, {"x": x})
        rows += batch
    return rows / (time.perf_counter() - began_s), (time.process_time() - began_cpu_s) / rows * 1e3


class Listener:
    """Hears what `ai/model` publishes: `model` of each answer, and `ts`."""

    def __init__(self) -> None:
        self.heard: list[dict] = []
        self.first = asyncio.Event()
        self.cpu: list[float] = []  # of the node's process, as a share of one processor, each second

    def __call__(self, _: str, data: bytes, *__: Any) -> None:
        self.heard.extend({**one["payload"]["model"], "ts": one["ts"]} for one in unpack(data))
        self.first.set()

    def stats(self, _: str, data: bytes, *__: Any) -> None:
        """What the runtime publishes of the node each second."""
        self.cpu.append(unpack(data)["cpu"])

    @property
    def cpu_ms(self) -> float:
        """Processor milliseconds an answer."""
        return statistics.mean(self.cpu) / rate_of(self.heard) * 1e3


async def flow(host: Host, listener: Listener, path: Path, seconds: float, every_s: float, **config: Any) -> list[dict]:
    """What the node said in `seconds`, after a warm-up."""
    document = {
        "flowcore": 1,
        "id": "bench",
        "nodes": [
            {"id": "source", "type": "core/inject", "config": {"payload": [0.5] * 4, "every_s": every_s}},
            {"id": "model", "type": "ai/model", "config": {"model": str(path), "threads": 1, "stats_s": 0, **config}},
            {"id": "sink", "type": "core/debug", "config": {"active": False}},
        ],
        "wires": [{"from": "source.out", "to": "model.in", "window": 256}, {"from": "model.out", "to": "sink.in"}],
    }
    listener.first.clear()
    result = await host.documents.deploy(json.dumps(document), "bench.json")
    assert not result.failed and not result.problems, result
    async with asyncio.timeout(60):
        await listener.first.wait()
    await asyncio.sleep(_WARM_S)
    listener.heard.clear()
    listener.cpu.clear()
    await asyncio.sleep(seconds)
    said = list(listener.heard)
    await host.documents.remove("bench")
    return said


def rate_of(said: list[dict]) -> float:
    """Answers a second."""
    return (len(said) - 1) / ((said[-1]["ts"] - said[0]["ts"]) / 1e9)


async def measure(runs: int, seconds: float) -> None:
    """Everything, printed."""
    print(
        f"load of the machine before: {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores; {runs} runs of {seconds:g} s"
    )
    with tempfile.TemporaryDirectory(prefix="flowcore-bench-") as folder:
        small, large = dense(Path(folder) / "small.onnx", 1), dense(Path(folder) / "large.onnx", 60)
        host = Host(HostOptions(folder=Path(folder) / "data", nats_port=0, mqtt_port=0, drain_s=2.0))
        await host.start()
        listener = Listener()
        try:
            await host.bus.connection.subscribe("flow.bench.model.out.out", listener)
            await host.bus.connection.subscribe("flow.bench.model.stats", listener.stats)
            added: list[float] = []
            for _ in range(runs):
                said = await flow(host, listener, small, seconds, 0.005)
                added += [one["latency_ms"] - one["run_ms"] for one in said]
            added.sort()
            share = {name: added[int(part * len(added))] for name, part in (("p5", 0.05), ("p50", 0.5), ("p95", 0.95))}
            print(
                "overhead: " + ", ".join(f"{name} {one:.3f} ms" for name, one in share.items()),
                f"({len(added)} messages)",
            )
            ratios, factors, bare_factors, shown = [], [], [], []
            for _ in range(runs):
                one, one_cpu_ms = await asyncio.to_thread(bare, large, 1, seconds)
                single = rate_of(await flow(host, listener, large, seconds, 0.001))
                cpu_ms = listener.cpu_ms
                eight, _ = await asyncio.to_thread(bare, large, BATCH, seconds)
                many = await flow(host, listener, large, seconds, 0.001, max_batch=BATCH, max_wait_ms=20)
                ratios.append(single / one)
                factors.append(rate_of(many) / single)
                bare_factors.append(eight / one)
                size = statistics.mean(said["batch"] for said in many)
                shown.append((one, one_cpu_ms, single, cpu_ms, eight, rate_of(many), size))
        finally:
            await host.stop()
    one, one_cpu_ms, single, cpu_ms, eight, batched, size = map(statistics.median, zip(*shown, strict=True))
    print(
        f"rate: {one:.1f}/s bare ({one_cpu_ms:.1f} ms of a processor), {single:.1f}/s in the flow ({cpu_ms:.1f} ms): "
        f"{statistics.median(ratios):.3f} x"
    )
    print(
        f"batching: {eight:.1f}/s bare with {BATCH} at once, {batched:.1f}/s in the flow (batches of {size:.1f}): "
        f"{statistics.median(bare_factors):.2f} x bare, {statistics.median(factors):.2f} x in the flow"
    )


if __name__ == "__main__":
    if sys.argv[1:2] == ["--bare"]:
        print(*_bare(sys.argv[2], int(sys.argv[3]), float(sys.argv[4])))
    else:
        given = sys.argv[1:]
        asyncio.run(measure(int(given[0]) if given else 3, float(given[1]) if len(given) > 1 else 4.0))
