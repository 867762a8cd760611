"""Runs the table of attacks and prints {attack: outcome} as JSON: `python attack_runner.py FOLDER [UID]`.

With UID: imports everything, then becomes that user, zygote and all, as a host started without privileges would be.
"""

import asyncio
import json
import os
import socket
import sys
from collections.abc import Sequence
from pathlib import Path

from attacks import ATTACKS, OF_THE_KERNEL, Attack
from zygote_process import start_zygote

from flowcore.script import zygote
from flowcore.script.client import ScriptWorker
from flowcore.script.errors import ScriptRefused

DEADLINE_S = (1.0, 0.3)  # of a worker that has to be ended; of JavaScript, which is stopped within


def drop(uid: int) -> None:
    os.setgroups([])
    os.setresgid(uid, uid, uid)
    os.setresuid(uid, uid, uid)


def fork_zygote(path: Path, uid: int) -> tuple[int, int]:
    """A zygote of an unprivileged user: forked, since that user may not be able to exec this Python."""
    reader, writer = os.pipe()
    said, say = os.pipe()
    parent = os.getpid()
    pid = os.fork()
    if pid == 0:
        assert os.getppid() == parent
        os.dup2(reader, 0)
        os.dup2(say, 1)
        os.close(writer)
        zygote.warm_up()
        drop(uid)
        sys.argv = ["zygote", str(path)]
        zygote.main()
        os._exit(0)
    with open(said) as line:  # noqa: PTH123
        report = json.loads(line.readline())
    assert report["missing"] == [], report
    return pid, writer


def victim() -> int:
    """A process of our user that just waits."""
    pid = os.fork()
    if pid == 0:
        while True:
            __import__("time").sleep(1000)
    return pid


async def outcome(attack: Attack, path: Path, payload: dict) -> str:
    grace_s = 0.5 if attack.language == "javascript" else 0.0
    options = {"syntax": "jinja2", "output": "text", "strict": False} if attack.language == "template" else {}
    # What has to be stopped is given little time; the rest enough, also on a machine that is busy.
    deadline_s = DEADLINE_S[attack.language == "javascript"] if "ScriptTimeout" in attack.must else 20.0
    worker = ScriptWorker(
        path, attack.script, deadline_s=deadline_s, language=attack.language, grace_s=grace_s, options=options
    )
    try:
        await worker.start()
        (result,) = await worker.call(
            [(payload, "", {}, "id") if attack.language == "javascript" else (payload, "", {})]
        )
    except ScriptRefused as e:
        return e.type
    finally:
        worker.close()
    assert len(repr(result.notes)) < 60_000
    if result.error is not None:
        assert len(str(result.error)) < 5000
        assert len(result.error.traceback) < 10_000
        ours = type(result.error).__name__
        return result.error.type if ours == "ScriptError" else ours
    return f"value {result.outputs[0][1]!r}" if result.outputs else "value None"


async def run(folder: Path, path: Path, pids: dict, attacks: Sequence[Attack]) -> dict[str, str]:
    os.environ["CREDENTIAL"] = "canary-secret"
    canary = folder / "canary"
    canary.write_text("canary-secret")
    listener = socket.create_server(("127.0.0.1", 0))
    listener.setblocking(False)
    bystander = ScriptWorker(path, "context.set('n', context.get('n', 0) + 1)\nreturn context.get('n')")
    await bystander.start()
    payload = {
        **pids, "bystander": bystander.pid, "canary": str(canary), "socket": str(path),
        "port": listener.getsockname()[1],
    }  # fmt: skip
    outcomes = {}
    for number, attack in enumerate(attacks, 1):
        outcomes[attack.name] = await outcome(attack, path, payload)
        (calm,) = await bystander.call([(None, "", {})])
        if calm.outputs != [[0, number, "", {}]]:
            outcomes[attack.name] += f", and it reached a bystander: {calm}"
    if canary.read_text() != "canary-secret":
        outcomes["the canary"] = "was touched"
    if os.waitpid(pids["victim"], os.WNOHANG) != (0, 0):  # noqa: ASYNC222  does not wait
        outcomes["the victim"] = "was killed"
    try:
        listener.accept()
        outcomes["the listener"] = "was reached"
    except BlockingIOError:
        pass
    await bystander.stop()
    return outcomes


async def main(folder: Path, uid: int | None) -> None:
    path = folder / "script.sock"
    if uid is None:
        own = await start_zygote(path)
        assert own.missing == []
        pids = {"zygote": own.pid, "victim": victim()}
        try:
            outcomes = await run(folder, path, pids, ATTACKS)
        finally:
            os.kill(pids["victim"], 9)
            await own.stop()
    else:
        os.chown(folder, uid, uid)
        zygote_pid, writer = fork_zygote(path, uid)
        drop(uid)
        pids = {"zygote": zygote_pid, "victim": victim()}
        try:
            outcomes = await run(folder, path, pids, OF_THE_KERNEL)
        finally:
            os.kill(pids["victim"], 9)
            os.close(writer)
            os.waitpid(zygote_pid, 0)  # noqa: ASYNC222  nothing else is left to do
    print(json.dumps(outcomes))


if __name__ == "__main__":
    asyncio.run(main(Path(sys.argv[1]), int(sys.argv[2]) if len(sys.argv) > 2 else None))
