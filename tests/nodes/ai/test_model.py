"""`ai/model`: what goes in, what comes out, batches, several models, fallback, and what it says of a bad file."""

import asyncio
import hashlib
import threading

import numpy as np
import pytest
from flowcore_nodes.ai.engines import ModelError, device_of
from flowcore_nodes.ai.model import Model

from flowcore.node.testing import drive
from tests.nodes.ai import nets

ROW = np.array([1, 2, 3], np.float32)


@pytest.fixture
def doubler(tmp_path):
    """A model that doubles."""
    return nets.doubler(tmp_path / "doubler.onnx")


async def test_a_tensor_goes_in_and_what_the_model_makes_comes_out_by_name(doubler):
    """With name, version (a hash of the file) and latency; a first length that was left out is left out again."""
    async with drive(Model, model=str(doubler)) as node:
        await node.put(ROW, ROW[None].repeat(2, 0), [1.5, 2, 3])
        one, two, listed = await node.sent(port="out")
    assert one["outputs"]["y"].numpy().tolist() == [2, 4, 6]
    assert two["outputs"]["y"].numpy().tolist() == [[2, 4, 6]] * 2
    assert listed["outputs"]["y"].numpy().tolist() == [3, 4, 6]
    assert one["model"]["name"] == "doubler"
    assert one["model"]["version"] == hashlib.sha256(doubler.read_bytes()).hexdigest()[:12]
    assert 0 < one["model"]["run_ms"] <= one["model"]["latency_ms"]


async def test_what_is_beside_the_tensor_travels_on(doubler):
    """A frame, its number: whoever decodes the outputs needs them."""
    async with drive(Model, model=str(doubler)) as node:
        await node.put({"tensor": ROW, "number": 7, "width": 640}, topic="gate")
        (message,) = await node.sent_messages(1, port="out")
    assert message.topic == "gate"
    assert message.payload["number"] == 7 and message.payload["width"] == 640
    assert "tensor" not in message.payload


async def test_several_inputs_come_as_a_map(tmp_path):
    """By the names that the model gives them."""
    left = np.ones((2, 2), np.float32)
    async with drive(Model, model=str(nets.adder(tmp_path / "adder.onnx"))) as node:
        await node.put({"left": left, "right": 2 * left})
        (answer,) = await node.sent(1, port="out")
    assert answer["outputs"]["sum"].numpy().tolist() == [[3, 3]] * 2
    assert answer["outputs"]["whole"].dtype == "int64"


@pytest.mark.parametrize(
    ("payload", "says"),
    [
        (np.zeros(4, np.float32), "doubler takes 'x': float32 (batch, 3), got float32 (4,)"),
        (np.zeros(3, np.float64), "doubler takes 'x': float32 (batch, 3), got float64 (3,)"),
        (np.zeros((1, 2, 3), np.float32), "got float32 (1, 2, 3)"),
        ({"z": ROW}, "doubler has no input 'z'; it has 'x': float32 (batch, 3)"),
        ("a text", "doubler takes 'x': float32 (batch, 3), got str"),
        ([[1, 2], [3]], "got a list that is no such tensor"),
        (None, "got NoneType"),
        ({}, "doubler needs 'x': float32 (batch, 3), and it is missing"),
    ],
)
async def test_what_does_not_fit_is_an_error_that_names_the_input(doubler, payload, says):
    """It is given up at once, and the next message is answered."""
    async with drive(Model, model=str(doubler), settings={"retry": {"times": 3}}) as node:
        await node.put(payload, ROW)
        (answer,) = await node.sent(1, port="out")
    assert answer["outputs"]["y"].numpy().tolist() == [2, 4, 6]
    assert [one["tries"] for one in node.given_up] == [1]
    assert says in node.given_up[0]["text"]


async def test_inputs_that_contradict_each_other_are_named(tmp_path):
    """One length, two values."""
    async with drive(Model, model=str(nets.adder(tmp_path / "adder.onnx"))) as node:
        await node.put(
            {"left": np.ones((2, 2), np.float32), "right": np.ones((3, 2), np.float32)},
            {"left": np.ones((2, 2), np.float32)},
            np.ones((2, 2), np.float32),
        )
    contradiction, missing, map_wanted = [one["text"] for one in node.given_up]
    assert "'n' is 2 in input 'left' and 3 in input 'right'" in contradiction
    assert "needs 'right'" in missing
    assert "has 2 inputs: send a map" in map_wanted


async def test_messages_that_wait_are_run_together_and_answered_in_order(doubler):
    """With no more than max_batch rows, whatever the rows of a message."""
    async with drive(Model, model=str(doubler), max_batch=8, workers=2, max_wait_ms=20) as node:
        await node.put(*[np.full(3, k, np.float32) for k in range(50)], np.ones((5, 3), np.float32))
        answers = await node.sent(51, port="out")
    assert [one["outputs"]["y"].numpy()[0] for one in answers[:50]] == [2 * k for k in range(50)]
    assert answers[50]["outputs"]["y"].shape == (5, 3)
    sizes = [one["model"]["batch"] for one in answers]
    assert max(sizes) == 8


async def test_a_batch_waits_no_longer_than_it_may(doubler):
    """One message alone is answered after max_wait_ms, not never."""
    async with drive(Model, model=str(doubler), max_batch=8, max_wait_ms=30) as node:
        await node.put(ROW)
        (answer,) = await node.sent(1, port="out")
    assert answer["model"]["batch"] == 1
    assert answer["model"]["latency_ms"] >= 29


async def test_one_bad_row_does_not_spoil_its_batch(tmp_path):
    """A batch that fails is run one by one."""
    async with drive(Model, model=str(nets.picky(tmp_path / "picky.onnx")), max_batch=4, max_wait_ms=50) as node:
        await node.put(*[np.array([k], np.int64) for k in (0, 99, 1, 2)])
        answers = await node.sent(3, port="out")
    assert [one["outputs"]["row"].numpy().tolist() for one in answers] == [[[0, 1]], [[2, 3]], [[4, 5]]]
    assert "picky" in node.given_up[0]["text"] and "99" in node.given_up[0]["text"]


async def test_several_models_share_a_process(tmp_path, doubler):
    """meta.model chooses."""
    picky = nets.picky(tmp_path / "picky.onnx")
    async with drive(Model, model=str(doubler), more={"table": str(picky)}) as node:
        await node.put(np.array([3], np.int64), meta={"model": "table"})
        await node.put(ROW)
        await node.put(ROW, meta={"model": "chair"})
        answers = await node.sent(2, port="out")
    assert [one["model"]["name"] for one in answers] == ["picky", "doubler"]
    assert "no model 'chair' here; `more` has: table" in node.given_up[0]["text"]


async def test_a_fallback_answers_while_the_breaker_is_open(tmp_path):
    """After so many failures the first model is left alone, and tried again later."""
    strict, lenient = nets.picky(tmp_path / "strict.onnx"), nets.picky(tmp_path / "lenient.onnx", rows=9)
    settings = {"breaker": {"failures": 2, "open_s": 10}}
    good, bad = np.array([1], np.int64), np.array([7], np.int64)
    async with drive(Model, model=str(strict), fallback=str(lenient), stats_s=60, settings=settings) as node:
        await node.put(good, bad, bad, good)  # opens at the second bad one
        await node.advance(11)
        await node.put(good)
        answers = await node.sent(5, port="out")
        assert [one["model"]["name"] for one in answers] == ["strict", "lenient", "lenient", "lenient", "strict"]
        assert [kind for _, kind in node.statuses] == ["busy", "ok", "warn", "ok"]
        assert not node.given_up
        await node.advance(60)
        stats = await node.sent(2, port="stats")
        assert [(one["model"], one["answers"], one["fallbacks"]) for one in stats] == [
            ("strict", 2, 3),
            ("lenient", 3, 0),
        ]


async def test_statistics_are_told_while_there_are_answers(doubler):
    """Percentiles, batch size, rate, errors; silence says nothing."""
    async with drive(Model, model=str(doubler), stats_s=5) as node:
        await node.put(ROW, ROW, np.zeros(4, np.float32))
        await node.advance(20)
        (stats,) = await node.sent(1, port="stats")
    assert stats["answers"] == 2 and stats["errors"] == 1 and stats["batch"] == 1
    assert 0 < stats["p50_ms"] <= stats["p95_ms"] <= stats["p99_ms"]
    assert stats["device"] == "cpu" and stats["rate_hz"] > 0


async def test_the_loop_goes_on_while_a_model_runs(tmp_path):
    """Heartbeats and acks have 5 s; here the loop is looked at each millisecond."""
    heavy = nets.heavy(tmp_path / "heavy.onnx", 40)
    longest_s, loop = 0.0, asyncio.get_running_loop()

    async def watch():
        nonlocal longest_s
        while True:
            began_s = loop.time()
            await asyncio.sleep(0.001)
            longest_s = max(longest_s, loop.time() - began_s)

    async with drive(Model, model=str(heavy), threads=1) as node:
        watching = asyncio.ensure_future(watch())
        await node.put(*[np.zeros((8, 256, 256), np.float32)] * 3)
        watching.cancel()
        answers = await node.sent(3, port="out")
    slowest_s = min(one["model"]["run_ms"] for one in answers) / 1e3
    assert longest_s < slowest_s


async def test_only_a_model_that_was_quick_with_the_same_shapes_runs_on_the_loop(tmp_path):
    """Rows of one length, then longer ones, then one that fails: the others are answered in any case."""
    picky = nets.picky(tmp_path / "picky.onnx")
    async with drive(Model, model=str(picky), threads=1, warm_up=0) as node:
        engine, is_here = node.node._lanes[""].model.engine, []
        run = engine.run
        engine.run = lambda feeds: (is_here.append(threading.current_thread() is threading.main_thread()), run(feeds))[
            1
        ]
        for _ in range(100):
            await node.put(np.array([1], np.int64))
        assert is_here[:16] == [False] * 16 and is_here[-1]
        await node.put(np.array([1, 2, 3], np.int64))
        assert not is_here[-1]
        for _ in range(100):
            await node.put(np.array([1], np.int64))
        assert is_here[-1]
        await node.put(np.array([99], np.int64), np.array([2], np.int64))
        assert len(await node.sent(202, port="out")) == 202 and "99" in node.given_up[0]["text"]


async def test_a_message_past_its_time_out_fails_alone(tmp_path):
    """The node's setting: the handler ends, and what comes then is answered."""
    heavy = nets.heavy(tmp_path / "heavy.onnx", 100)
    async with drive(Model, model=str(heavy), threads=1, warm_up=0, settings={"timeout_s": 0.02}) as node:
        await node.put(np.zeros((4, 256, 256), np.float32))
        assert node.given_up[0]["error"] == "HandlerTimeout"
        node.engine.turns._handling._limit.seconds = 60
        await node.put(np.zeros((1, 256, 256), np.float32))
        await node.sent(1, port="out")


@pytest.mark.alone
async def test_the_node_adds_little_to_the_engine(doubler):
    """At most 0.3 ms between taking a message and handing over its answer; other work on the machine only adds."""
    async with drive(Model, model=str(doubler), threads=1) as node:
        for _ in range(300):
            await node.put(ROW)
        added_ms = sorted(
            one["model"]["latency_ms"] - one["model"]["run_ms"] for one in await node.sent(300, port="out")
        )
    print(f"added: {added_ms[30]:.3f} ms p10, {added_ms[150]:.3f} ms p50")
    assert added_ms[30] <= 0.3


def _truncated(path):
    path.write_bytes(nets.heavy(path, 4).read_bytes()[:20_000])
    return path


@pytest.mark.parametrize(
    ("name", "made", "says"),
    [
        ("gone.onnx", lambda path: path, "No such file"),
        ("empty.onnx", lambda path: path.touch(), "the file is empty"),
        ("cut.onnx", _truncated, "onnxruntime cannot open it"),
        ("noise.onnx", lambda path: path.write_bytes(b"<html>404</html>" * 9), "onnxruntime cannot open it"),
        ("folder.onnx", lambda path: path.mkdir(), "Is a directory"),
        ("net.pt", lambda path: path.write_bytes(b"PK"), "may run code when it is loaded, and is not loaded"),
        ("net.pkl", lambda path: path.write_bytes(b"\x80"), "export the model as .onnx, or with torch.export as .pt2"),
        ("net.bin", lambda path: path.write_bytes(b"1"), "a '.bin' file is not known"),
    ],
)
async def test_a_file_that_is_no_model_stops_the_start_and_says_why(tmp_path, name, made, says):
    """In the error and as status; so a process that this one was to replace goes on."""
    path = tmp_path / name
    made(path)
    node = drive(Model, model=str(path))
    with pytest.raises(ModelError, match="^" + str(path).replace(".", "[.]")) as raised:
        await node.__aenter__()
    assert says in str(raised.value)
    assert node.statuses[-1] == (str(raised.value), "error")


async def test_what_a_model_or_machine_cannot_do_is_told_at_the_start(tmp_path, doubler):
    """Batches of a model with fixed shapes, a model that does not ship, a GPU that is not there."""
    fixed = nets.doubler(tmp_path / "fixed.onnx", first=1)
    for config, says in [
        ({"model": str(fixed), "max_batch": 4}, "export it with a dynamic first dimension, or set max_batch to 1"),
        ({"model": "builtin:nothing"}, "no model 'builtin:nothing' comes with flowcore"),
        ({"model": "builtin:../../secret"}, "comes with flowcore"),
        ({"model": str(doubler), "device": "cuda:7"}, "cuda"),
    ]:
        with pytest.raises(ModelError) as raised:
            await drive(Model, **config).__aenter__()
        assert says in str(raised.value)


def test_gpus_are_chosen_by_number_or_shared_by_a_word():
    """The same word, the same GPU; many words, all GPUs."""
    assert device_of("cpu", "", 0) == "cpu"
    assert device_of("cuda", "", 4) == "cuda:0"
    assert device_of("cuda:3", "gate", 4) == "cuda:3"
    assert {device_of("cuda", f"camera{k}", 4) for k in range(40)} == {f"cuda:{k}" for k in range(4)}
    assert device_of("cuda", "gate", 4) == device_of("cuda", "gate", 4)
    with pytest.raises(ModelError, match="there are 2 CUDA devices, cuda:0 to cuda:1"):
        device_of("cuda:2", "", 2)
    with pytest.raises(ModelError, match="shows no CUDA device"):
        device_of("cuda", "", 0)
