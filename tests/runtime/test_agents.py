"""Agents in a folder, on a real host: found, replaced at a save, failing, hanging; and what is done for them."""

import asyncio
import json
import os
import signal
from pathlib import Path

import pytest

from flowcore.bus.envelope import pack
from flowcore.runtime.host import Host
from flowcore.runtime.options import HostOptions

AGENT = '''
from flowcore.node import Agent

class TooHot(Agent):
    """Count what is too hot, and say so."""
    def on_message(self, message):
        if message.payload == "hang":
            while True:
                pass
        if message.payload > 80:
            self.state["n"] = self.state.get("n", 0) + 1
            yield self.act(message, ["book", "call"], {"n": self.state["n"], "by": "first"}, topic="hot")
'''
FLOW = {
    "flowcore": 1, "id": "line",
    "nodes": [
        {"id": "hot", "type": "agent/too-hot", "settings": {"timeout_s": 0.3, "restart": {"limit": 1}}},
        {"id": "do", "type": "core/actions",
         "config": {"routes": ["book", "call"], "times": 1, "backoff_s": 0.05}},
        {"id": "book", "type": "core/file-out", "config": {"path": "FOLDER/book.jsonl"}},
        {"id": "call", "type": "core/exec", "config": {"command": ["false"], "fail": True}},
        {"id": "audit", "type": "core/file-out", "config": {"path": "FOLDER/audit.jsonl"}},
        {"id": "dead", "type": "core/file-out", "config": {"path": "FOLDER/dead.jsonl"}},
    ],
    "wires": [
        {"from": "hot.action", "to": "do.in"},
        {"from": "do.book", "to": "book.in"}, {"from": "do.call", "to": "call.in"},
        {"from": "do.audit", "to": "audit.in"}, {"from": "do.dead", "to": "dead.in"},
    ],
}  # fmt: skip


@pytest.fixture
async def line(tmp_path, monkeypatch):
    """A host whose folder of agents is not there yet."""
    monkeypatch.setenv("FLOWCORE_AGENTS", str(tmp_path / "agents"))
    host = Host(HostOptions(folder=tmp_path / "data", nats_port=0, mqtt_port=0, drain_s=2.0))
    await host.start()
    yield host
    await host.stop(drain_s=0)


def put(host, *values, node="hot"):
    for value in values:
        host.bus.connection.publish(f"flow.line.{node}.in.in", pack([{"payload": value}]))


def hot(host):
    (found,) = [one for one in host.status("line")[0].nodes if one.node == "hot"]
    return found


async def until(condition, what: str, timeout: float = 20.0):
    """Wait for what nobody tells of."""
    try:
        async with asyncio.timeout(timeout):
            while not (found := condition()):  # noqa: ASYNC110 - nobody tells
                await asyncio.sleep(0.02)
    except TimeoutError:
        raise AssertionError(f"{what} did not happen within {timeout} s") from None
    return found


def lines(path: Path) -> list:
    return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []


async def test_an_agent_lives_in_a_folder_and_what_it_asks_for_is_done_or_told(line, tmp_path):
    """Dropped in, used, saved anew, broken, failing and hanging: the flow goes on, and its state with it."""
    file = tmp_path / "agents" / "too_hot.py"
    file.parent.mkdir()
    file.write_text(AGENT)
    await until(lambda: "agent/too-hot" in line.types, "the new folder was not seen")
    deployed = await line.documents.deploy(json.dumps(FLOW).replace("FOLDER", str(tmp_path)), "line.json")
    assert not deployed.problems and not deployed.failed

    put(line, 20, 90)
    told = await until(lambda: len(found := lines(tmp_path / "audit.jsonl")) >= 3 and found, "the audit")
    ends = sorted((one["do"], one["outcome"], one["attempts"]) for one in told)
    assert ends == [("book", "done", 1), ("call", "dead", 2), ("call", "failed", 1)]
    assert {one["agent"] for one in told} == {"hot"}
    assert lines(tmp_path / "book.jsonl") == [{"n": 1, "by": "first"}]
    (dead,) = await until(lambda: lines(tmp_path / "dead.jsonl"), "the dead letter")
    assert dead == {"n": 1, "by": "first"}

    before = hot(line).pid
    file.write_text(AGENT.replace("first", "second"))
    put(line, "no number")  # fails: counted, and nothing else
    await until(lambda: hot(line).pid not in (before, None) and hot(line).state == "running", "the saved file")
    put(line, 95)
    book = await until(lambda: len(found := lines(tmp_path / "book.jsonl")) >= 2 and found, "the second action")
    assert book[1:] == [{"n": 2, "by": "second"}]

    file.write_text("def broken(:\n")
    (tmp_path / "agents" / "leaves.py").write_text("import sys\nsys.exit(3)\n")
    await until(lambda: len(line.type_problems) >= 2, "the broken files were not told")
    assert any("too_hot.py:1: invalid syntax" in one for one in line.type_problems)
    assert any("leaves.py" in one and "SystemExit" in one for one in line.type_problems)
    put(line, "hang", 96)  # given up after its time; the next is handled, by what ran before
    book = await until(lambda: len(found := lines(tmp_path / "book.jsonl")) >= 3 and found, "the third action")
    assert book[2:] == [{"n": 3, "by": "second"}]
    assert hot(line).state == "running"


COUNTS = '''
from flowcore.node import Agent

class Count(Agent):
    """Number the events."""
    def on_message(self, message):
        self.state["n"] = self.state.get("n", 0) + 1
        return self.act(message, "book", {"n": self.state["n"]})
'''


async def test_agent_and_actions_that_are_killed_forget_nothing_and_number_nothing_twice(line, tmp_path):
    """Each event has its one number, each action is done, and was said to be; agent, dispatcher and doer are killed."""
    (tmp_path / "agents").mkdir()
    (tmp_path / "agents" / "count.py").write_text(COUNTS)
    numbers, many = tmp_path / "numbers.txt", 1500
    numbers.write_text("".join(f"{n}\n" for n in range(many)))
    nodes = [
        ("read", "core/file-in", {"path": str(numbers)}),
        ("hot", "agent/count", {}),
        ("do", "core/actions", {"routes": ["book"], "max_held": 5000}),
        ("book", "core/file-out", {"path": str(tmp_path / "book.jsonl")}),
        ("audit", "core/file-out", {"path": str(tmp_path / "audit.jsonl")}),
    ]
    wires = [("read.out", "hot.in"), ("hot.action", "do.in"), ("do.book", "book.in"), ("do.audit", "audit.in")]
    flow = {
        "flowcore": 1, "id": "line",
        "nodes": [
            {"id": id_, "type": type_, "config": config, "settings": {"restart": {"limit": 100}}}
            for id_, type_, config in nodes
        ],
        "wires": [{"from": begin, "to": end} for begin, end in wires],
    }  # fmt: skip
    await until(lambda: "agent/count" in line.types, "the new folder was not seen")
    await line.documents.deploy(json.dumps(flow), "line.json")
    for share, node in enumerate(("hot", "do", "book"), 1):
        await until(lambda share=share: len(lines(tmp_path / "book.jsonl")) >= many * share / 5, "progress", 40)
        (found,) = [one for one in line.status("line")[0].nodes if one.node == node]
        if found.pid:
            os.kill(found.pid, signal.SIGKILL)

    def told():
        return {one["payload"]["n"] for one in lines(tmp_path / "audit.jsonl") if one["outcome"] == "done"}

    await until(lambda: len(told()) >= many, "the end", 60)
    assert told() == {one["n"] for one in lines(tmp_path / "book.jsonl")} == set(range(1, many + 1))
