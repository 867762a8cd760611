"""`flowcore bench` on the real thing: real runtimes, short runs."""

import asyncio
import json
import os
import signal
import tempfile
from pathlib import Path

import psutil
import pytest

from flowcore.bench.nodes import flowcore_node_types
from flowcore.bench.parts import PARTS
from flowcore.bench.runtime import until


def _left_in(folder: Path) -> list[str]:
    """What a run left: files in the folder, and processes that were started for it."""
    files = [str(path) for path in folder.iterdir()]
    family = [one for one in psutil.process_iter(["cmdline"]) if str(folder) in " ".join(one.info["cmdline"] or ())]
    return files + [" ".join(one.info["cmdline"]) for one in family]


@pytest.fixture
def place():
    """A folder with a short name, since sockets are made below it."""
    with tempfile.TemporaryDirectory(prefix="fb-") as name:
        yield Path(name)


async def test_a_report_says_what_was_measured_on_what_and_how_often(flowcore, place):
    """Each figure with its runs, spread, target; and nothing of it is left on the machine."""
    ran = await flowcore("bench", "start", "throughput", "--quick", "--json", "--data", place, timeout=120)
    report = ran.json
    assert report["machine"]["cores"] >= 1 and report["machine"]["cpu"] and report["machine"]["memory_bytes"]
    assert all(version != "-" for version in report["versions"].values()), report["versions"]
    assert report["options"] == {"seconds": 0.5, "runs": 2, "quick": True}
    assert [part["part"] for part in report["parts"]] == ["start", "throughput"]
    for part in report["parts"]:
        assert part["what"] and not part["faults"]
        names = {one["name"] for one in part["processes"]}
        assert {"python -m flowcore.cli up", "nats-server"} <= names, names
        for row in part["rows"]:
            assert 0 < row["min"] <= row["median"] <= row["max"] and row["unit"], row
            assert (row["min"], row["max"]) == (min(row["values"]), max(row["values"]))
    start, throughput = report["parts"]
    assert start["rows"][0]["target"]["at_most"] == 30
    assert [(row["unit"], len(row["values"])) for row in throughput["rows"]] == [("msg/s", 2), ("us a message", 2)] * 3
    assert throughput["rows"][0]["of"] == {"hops": 4, "case": "through"}
    assert not _left_in(place)


async def test_the_table_and_the_picture(flowcore, place):
    """Latency as people read it: percentiles of all messages, beside raw nats-py; drawn where matplotlib is."""
    pytest.importorskip("matplotlib", reason="matplotlib is not installed: pip install 'flowcore[bench]'")
    picture = flowcore.folder / "bench.svg"
    ran = await flowcore("bench", "latency", "--quick", "--runs", 1, "--plot", picture, "--data", place, timeout=120)
    assert "1 run of 0.5 s, quick" in ran.out and "p99.9" in ran.out and "python -m flowcore.bench.raw" in ran.out
    (hop,) = (line for line in ran.out.splitlines() if line.startswith("1 hop, small message "))
    assert " ms p50 " in hop and 1 <= int(hop.split()[-1]) <= 120, hop  # messages: 0.5 s at 200/s
    assert "raw nats-py" in picture.read_text()
    assert not _left_in(place)


async def test_what_is_interrupted_leaves_nothing_behind(flowcore, place):
    """Ctrl-C in the middle of a run: one line, status 1, no process, no file."""
    process = await flowcore.start("bench", "idle", "--data", place, "--json")
    await until(lambda: list(place.glob("*/data/run.json")), "its runtime")
    os.kill(process.pid, signal.SIGINT)
    said, _ = await asyncio.wait_for(process.communicate(), 60)
    assert process.returncode == 1
    assert "nothing was left behind" in json.loads(said.decode().splitlines()[-1])["error"]["message"]
    assert not _left_in(place)


async def test_its_nodes_show_in_no_other_runtime(flowcore):
    """They are a plug-in of the bench's own runtime; the palette of users does not list them."""
    shown = {one["type"] for one in (await flowcore("nodes", "--json")).json["types"]}
    assert "core/change" in shown and not shown & {node.type for node in flowcore_node_types()}


@pytest.mark.parametrize(
    ("args", "status", "says"),
    [
        (["bench", "troughput"], 2, "did you mean 'throughput'"),
        (["bench", "--runs", "0"], 2, "--runs"),
        (["bench", "--seconds", "soon"], 2, "--seconds"),
        (["bench", "--data", "nowhere"], 2, "no such folder"),
        (["bench", "--plot", "bench.txt"], 1, "bench.png"),
        (["bench", "--plot", "nowhere/bench.png"], 1, "no such folder"),
    ],
)
async def test_wrong_use_is_said_before_anything_is_measured(flowcore, args, status, says):
    """One line, and what to do."""
    ran = await flowcore(*args, status=status, timeout=20)
    assert says in ran.err and ran.err.count("\n") == 1 and not ran.out


async def test_the_parts_are_listed(flowcore):
    """With what each measures."""
    assert (await flowcore("bench", "--list", "--json")).json["parts"] == {one.name: one.what for one in PARTS.values()}
