"""`core/exec`: real commands, their ends, and what they don't get."""

import asyncio
import contextlib
import json
import os
import signal
import sys
from pathlib import Path

import pytest
from flowcore_nodes.core.exec import Exec
from pydantic import ValidationError

from flowcore.node.testing import drive


async def results(node):
    """Results without their durations."""
    return [
        {
            key: value
            for key, value in result.items()
            if key != "duration_s" and value is not None and value is not False
        }
        for result in await node.sent(port="result")
    ]


async def gone(pid: int) -> None:
    """Wait until a process is no more (a zombie is none)."""
    async with asyncio.timeout(10):
        while True:
            try:
                if Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z":
                    return
            except (OSError, IndexError):
                return
            await asyncio.sleep(0.01)


async def test_a_command_reads_writes_and_ends():
    async with drive(Exec, command=["sh", "-c", "cat; echo err >&2; exit 3"], stdin="payload") as node:
        await node.put("héllo", {"a": 1}, b"\xff", topic="t", meta={"mine": 1})
        assert await node.sent(port="stdout") == ["héllo", '{"a": 1}', "\ufffd"]
        assert await node.sent(port="stderr") == ["err\n"] * 3
        assert await results(node) == [{"code": 3}] * 3
        assert next((m.topic, m.meta) for m in node.messages("stdout")) == ("t", {"mine": 1, "code": 3})
        assert node.errors == [] and node.statuses[-1] == ("ended with code 3", "warn")


async def test_arguments_are_never_looked_at_by_a_shell():
    nasty = ["; echo pwned", "$(id)", "a b", "*", "'", 5]
    async with drive(Exec, command=["printf", "%s\n"], append="payload.args", output="lines") as node:
        await node.put({"args": nasty}, {"args": "one text; as a whole"})
        assert await node.sent(port="stdout") == [*map(str, nasty), "one text; as a whole"]
    async with drive(Exec, command=['printf "%s|" "$@"; echo $0'], shell=True, append="payload") as node:
        await node.put(nasty)
        assert await node.sent(port="stdout") == ["".join(f"{one}|" for one in nasty) + "sh\n"]


async def test_lines_come_as_they_are_written(tmp_path):
    (gate := tmp_path / "gate").touch()
    script = f"printf 'a\\r\\nb\\n'; while [ -e {gate} ]; do sleep 0.01; done; printf 'last' ; echo e >&2"
    async with drive(Exec, command=["sh", "-c", script], output="lines") as node:
        putting = asyncio.create_task(node.put(1))
        await node.wait_for(lambda: [m.payload for m in node.messages("stdout")] == ["a", "b"])
        gate.unlink()
        await putting
        assert await node.sent(port="stdout") == ["a", "b", "last"]
        assert await node.sent(port="stderr") == ["e"]
    async with drive(Exec, command=["sh", "-c", "echo tick $$"], when="start", output="lines", again_s=0.1) as node:
        await node.sent(3, port="stdout")
        assert len(set(await node.sent(port="stdout"))) >= 3


async def test_much_goes_through_both_ways():
    content = bytes(range(256)) * 8000
    limits = {"encoding": "bytes", "max_output_bytes": 4_000_000}
    async with drive(Exec, command=["cat"], stdin="payload", **limits) as node:
        await node.put(content)
        assert await node.sent(port="stdout") == [content]
    async with drive(Exec, command=["true"], stdin="payload") as node:  # it reads none of it
        await node.put(content)
        assert await results(node) == [{"code": 0}]


async def test_out_of_time_the_whole_group_is_killed(tmp_path):
    pids = tmp_path / "pids"
    script = f"trap '' TERM; sleep 100 & echo $! >> {pids}; sleep 100 & echo $! >> {pids}; echo begun; wait; wait"
    async with drive(Exec, command=["sh", "-c", script], timeout_s=0.3, kill_after_s=0.1, fail=True) as node:
        await node.put(1)
        assert await node.sent(port="stdout") == ["begun\n"]
        assert await results(node) == [{"signal": "SIGKILL", "timed_out": True}]
        assert node.errors[0]["text"] == "not done after timeout_s = 0.3: killed"
        for pid in pids.read_text().split():
            await gone(int(pid))
    async with drive(Exec, command=["sleep", "100"], timeout_s=0.1) as node:  # one that listens to SIGTERM
        await node.put(1)
        assert await results(node) == [{"signal": "SIGTERM", "timed_out": True}]
        assert node.errors == []


async def test_what_it_leaves_running_is_ended_with_it(tmp_path):
    pid = tmp_path / "pid"
    async with drive(Exec, command=["sh", "-c", f"sleep 100 & echo $! > {pid}; echo done"]) as node:
        await node.put(1)
        assert await node.sent(port="stdout") == ["done\n"]
        await gone(int(pid.read_text()))
    pid.unlink()
    leaves = f"setsid sh -c 'echo $$ > {pid}; sleep 100' & while ! [ -s {pid} ]; do sleep 0.01; done"
    async with drive(Exec, command=["sh", "-c", leaves]) as node:
        await node.put(1)  # it left the group, and holds the outputs: not waited for
        assert await results(node) == [{"code": 0}]
    await gone(int(pid.read_text()))  # it ends with the node at the latest


@pytest.mark.parametrize("output", ["whole", "lines"])
async def test_one_that_writes_too_much_is_killed(output):
    command = ["sh", "-c", "while :; do printf xxxxxxxxxxxxxxxx; done"]
    async with drive(Exec, command=command, max_output_bytes=1000, output=output, fail=True) as node:
        await node.put(1)
        assert await results(node) == [{"signal": "SIGKILL", "too_much": True}]
        assert "max_output_bytes = 1000 and was killed" in node.errors[0]["text"]
        assert [len(text) for text in await node.sent(port="stdout")] == ([1000] if output == "whole" else [])


async def test_it_gets_neither_descriptors_nor_secrets_of_the_node(monkeypatch, tmp_path):
    monkeypatch.setenv("BUS_PASSWORD", "secret")
    script = "ls /proc/self/fd | wc -l; env; pwd; cat /proc/$PPID/environ; ls /proc/$PPID/fd | wc -l"
    with (tmp_path / "open").open("w") as opened:
        os.set_inheritable(opened.fileno(), True)
        async with drive(Exec, command=["sh", "-c", script], env={"MINE": "1"}, cwd=str(tmp_path)) as node:
            await node.put(1)
            (text,) = await node.sent(port="stdout")
    first, *lines, last = text.split()
    assert first == "4"  # its own three, and the one that ls has
    assert "MINE=1" in lines and str(tmp_path) in lines and any(line.startswith("PATH=") for line in lines)
    assert "secret" not in text
    assert int(last) <= 5  # of the guard: its own three, and two to hear of ends


async def test_meta_kill_ends_what_runs():
    async with drive(Exec, settings={"concurrency": 4}, command=["sleep", "100"]) as node:
        running = [asyncio.create_task(node.put(n)) for n in range(2)]
        await node.wait_for(lambda: any(text.startswith("2 running") for text, _ in node.statuses))
        await node.put(None, meta={"kill": "SIGINT"})
        await asyncio.gather(*running)
        assert await results(node) == [{"signal": "SIGINT"}] * 2
        await node.put(None, meta={"kill": "SIGNOTHING"})
        assert "no signal 'SIGNOTHING'" in node.errors[0]["text"]


async def test_what_can_not_be_run_is_an_error_and_the_next_goes_on(tmp_path):
    (tmp_path / "plain.txt").write_text("no program")
    for command, more, text in (
        ([str(tmp_path / "nothing")], {}, "can't be run: No such file or directory"),
        ([str(tmp_path / "plain.txt")], {}, "can't be run: Permission denied"),
        (["true"], {"cwd": "/nowhere"}, "true can't be run in /nowhere: No such file or directory"),
        (["echo"], {"append": "payload.args"}, "nothing at 'args'"),
        (["echo"], {"append": "payload"}, "an argument must be a text or a number, got dict"),
        (["echo"], {"append": "topic"}, "can't hold a NUL character"),
        (["cat"], {"stdin": "payload.nan"}, "can't be written as JSON"),
    ):
        async with drive(Exec, command=command, **more) as node:
            await node.put({"nan": float("nan")}, topic="a\0b")
            assert text in node.errors[0]["text"]
            assert node.errors[0]["error"] in ("GiveUp", "PathError")
    async with drive(Exec, command=["cat"], stdin="payload") as node:
        await node.put(float("nan"), "ok")
        assert await node.sent(port="stdout") == ["ok"]
    async with drive(Exec, command=["echo"], when="start", again_s=60) as node:
        await node.put(1)
        assert "set when = message" in node.errors[0]["text"]


async def test_a_guard_that_is_killed_takes_its_commands_along_and_the_next_gets_another():
    async with drive(Exec, command=["sh", "-c", "echo $PPID; exec sleep $0"], append="payload", output="lines") as node:
        putting = asyncio.create_task(node.put(100))
        await node.wait_for(lambda: node.messages("stdout"))
        guard = int(node.messages("stdout")[0].payload)
        os.kill(guard, signal.SIGKILL)
        await putting
        await node.put(0)
        assert await results(node) == [{"signal": "SIGKILL"}, {"code": 0}]
        assert int((await node.sent(port="stdout"))[1]) != guard


NODE = """
import asyncio, os, sys
from flowcore_nodes.core.exec import Exec
from flowcore.node.testing import drive

async def main():
    script = "echo $$ > $0.1; setsid sh -c 'echo $$ > $0.2; sleep 100' $0 & (echo > $0.3; exec sleep 100)"
    async with drive(Exec, command=["sh", "-c", script, sys.argv[1]], timeout_s=0) as node:
        await node.put(1)

asyncio.run(main())
"""


async def test_nothing_survives_a_node_that_is_killed(tmp_path):
    """Neither its command, nor what that one started, nor what has left its process group."""
    stem = tmp_path / "pid"
    node = await asyncio.create_subprocess_exec(sys.executable, "-c", NODE, str(stem))
    files = [tmp_path / f"pid.{n}" for n in (1, 2, 3)]
    async with asyncio.timeout(20):
        while not all(file.exists() and file.read_text() for file in files):  # noqa: ASYNC110
            await asyncio.sleep(0.02)
    pids = [int(file.read_text()) for file in files[:2]]
    with contextlib.suppress(ProcessLookupError):
        node.kill()
    await node.wait()
    for pid in pids:
        await gone(pid)


def test_a_command_that_is_none_is_refused():
    for config, text in (
        ({"command": []}, "at least 1 item"),
        ({"command": [""]}, "the first word is the program"),
        ({"command": "rm -rf"}, "valid list"),
        ({"command": ["a", "b\0"]}, "NUL"),
        ({"command": ["a", "x" * 200_000]}, "use stdin"),
        ({"command": ["a"], "env": {"A=": "1"}}, "'A=' can't be an environment variable"),
        ({"command": ["a"], "when": "start", "stdin": "payload"}, "there is none"),
    ):
        with pytest.raises(ValidationError, match=text):
            Exec.Config(**json.loads(json.dumps(config)))
