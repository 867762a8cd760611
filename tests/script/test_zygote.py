"""The zygote: what it knows, who may reach it, and that nothing outlives it."""

import asyncio
import os
import signal
import stat

import psutil
import pytest
from zygote_process import ZygoteFailed, start_zygote

from flowcore.script.client import ScriptWorker
from flowcore.script.errors import SandboxMissing

SCRIPT = "return msg.payload"


async def gone(*pids: int) -> None:
    """Wait until processes have ended."""
    there = [psutil.Process(pid) for pid in pids if psutil.pid_exists(pid)]
    _, alive = await asyncio.to_thread(psutil.wait_procs, there, timeout=10)
    assert not alive


async def test_the_sandbox_is_whole_here(zygote):
    """The probe attacks at start find no layer missing."""
    assert zygote.missing == []


async def test_it_has_no_environment_no_thread_and_only_what_it_needs(zygote, script):
    """It is forked, and what it would know its workers would know."""
    await script(SCRIPT)
    process = psutil.Process(zygote.pid)
    assert set(process.environ()) <= {"LC_CTYPE"}
    assert process.num_threads() == 1
    worker = await script("import sys\nreturn sorted(sys.modules)")
    ((_, modules, _, _),) = (await worker.call([(None, "", {})]))[0].outputs
    for unwanted in ("asyncio", "nats", "ssl", "pydantic", "flowcore.bus.connection", "flowcore.node", "subprocess"):
        assert unwanted not in modules


async def test_only_its_own_user_reaches_the_socket(zygote, folder):
    """The socket has mode 0600; a folder that others may enter is refused."""
    assert stat.S_IMODE(zygote.socket.stat().st_mode) == 0o600
    folder.chmod(0o755)
    with pytest.raises(ZygoteFailed):
        await start_zygote(folder / "other.sock", log=os.open("/dev/null", os.O_WRONLY))
    folder.chmod(0o700)


async def test_a_deep_path_is_no_obstacle(folder):
    """A Unix socket's path may have 107 bytes; a data folder may be deeper."""
    deep = folder / ("x" * 120)
    deep.mkdir(mode=0o700)
    zygote = await start_zygote(deep / "script.sock")
    worker = ScriptWorker(zygote.socket, SCRIPT)
    await worker.start()
    assert (await worker.call([(5, "", {})]))[0].outputs == [[0, 5, "", {}]]
    await worker.stop()
    await zygote.stop()


@pytest.mark.parametrize("how", ["kill", "stdin"])
async def test_workers_die_with_the_zygote(folder, how):
    """Whether it is killed or its host goes away."""
    zygote = await start_zygote(folder / "script.sock")
    workers = [ScriptWorker(zygote.socket, SCRIPT) for _ in range(3)]
    for worker in workers:
        await worker.start()
    pids = [worker.pid for worker in workers]
    if how == "kill":
        os.kill(zygote.pid, signal.SIGKILL)
    else:
        zygote._process.stdin.close()
    await zygote.ended()
    await gone(*pids)
    for worker in workers:
        worker.close()


async def test_a_worker_dies_with_its_client(zygote, script):
    """The zygote sees the client hang up, whatever the script does."""
    worker = await script("while True: pass")
    pid = worker.pid
    call = asyncio.create_task(worker.call([(1, "", {})]))
    await asyncio.sleep(0)
    worker._talk.channel._control.close()  # as when the node process was killed; no signal is sent by us
    await gone(pid)
    call.cancel()
    await asyncio.gather(call, return_exceptions=True)


async def test_a_new_zygote_is_found(folder):
    """A host starts another when one dies: the script goes on, and no message is blamed."""
    zygote = await start_zygote(folder / "script.sock")
    worker = ScriptWorker(zygote.socket, SCRIPT)
    await worker.start()
    assert (await worker.call([(1, "", {})]))[0].outputs == [[0, 1, "", {}]]
    os.kill(zygote.pid, signal.SIGKILL)
    await zygote.ended()
    call = asyncio.create_task(worker.call([(2, "", {}), (3, "", {})]))
    zygote = await start_zygote(folder / "script.sock")
    assert [result.outputs[0][1] for result in await call] == [2, 3]
    assert worker.kills == 0
    worker.close()
    await zygote.stop()


async def test_no_worker_and_no_descriptor_is_left(zygote, script):
    """A hundred workers later the zygote and we hold what we held."""
    process, own = psutil.Process(zygote.pid), psutil.Process()
    worker = await script(SCRIPT)
    before, held = own.num_fds(), process.num_fds() - 2
    for _ in range(30):
        await worker.start()
    await worker.call([(1, "", {})])
    assert own.num_fds() == before
    worker.close()
    await asyncio.to_thread(psutil.wait_procs, process.children(), timeout=5)
    await worker.start()  # answered after the hanging up before it
    assert len(process.children()) == 1
    assert process.num_fds() == held + 2  # a control connection and a pidfd


async def test_rubbish_on_the_socket_hurts_nobody(zygote, script):
    """Whoever sends something else is hung up on."""
    import socket

    for rubbish in (b"x", b"\xc1" * 4000, b"\x82\xa7sandbox\xa6strict\xa9memory_mb\x00", b"\x80"):
        with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as client:
            client.settimeout(5)
            client.connect(str(zygote.socket))
            client.send(rubbish)
            assert b"refused" in client.recv(4096)
            assert client.recv(4096) == b""
    await script(SCRIPT)


async def test_a_missing_layer_refuses_scripts_unless_the_flow_allows_it(folder):
    """Without Landlock: strict is refused and names it, weak and off run."""
    zygote = await start_zygote(folder / "script.sock", without="landlock")
    try:
        assert any("landlock" in layer for layer in zygote.missing)
        with pytest.raises(SandboxMissing, match="landlock"):
            await ScriptWorker(zygote.socket, SCRIPT).start()
        for sandbox, reads in (("weak", "PermissionError"), ("off", None)):
            worker = ScriptWorker(zygote.socket, "open('/etc/passwd').read()", sandbox=sandbox)
            await worker.start()
            (result,) = await worker.call([(1, "", {})])
            assert (result.error and result.error.type) == reads
            worker.close()
    finally:
        await zygote.stop()
