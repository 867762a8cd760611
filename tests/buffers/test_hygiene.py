"""Nothing is left behind by processes that are killed, whichever and whenever."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from flowcore.buffers import Pools, probe
from flowcore.buffers.files import SHM
from flowcore.buffers.place import namespace, own
from flowcore.buffers.sweep import sweep

pytestmark = pytest.mark.alone

ROUNDS = 201


def killed(rounds: int, **environment: str) -> dict:
    """What `hygiene.py` says."""
    program = Path(__file__).with_name("hygiene.py")
    done = subprocess.run(
        [sys.executable, program, str(rounds)],
        env=os.environ | environment,
        stdout=subprocess.PIPE,
        timeout=300,
        check=True,
    )
    return json.loads(done.stdout)


@pytest.mark.drill
def test_two_hundred_kills():
    """Of producer, consumer and both: slots come back, frames stay whole, no memory stays."""
    said = killed(ROUNDS)
    assert said["killed"] == {
        "producer": {"whole, 0 pools open": ROUNDS // 3},
        "consumer": {"4 slots": ROUNDS // 3},
        "both": {"nobody is left": ROUNDS // 3},
    }
    # 201 pools of 4 MiB, were they left; other programs of this machine share memory, too.
    assert said["shared_mib"] < 200
    assert said["named_files"] == []


def named() -> list[str]:
    """The named pools of this user."""
    return sorted(path.name for path in SHM.glob(f"flowcore-{namespace()}-*"))


def test_named_files_are_swept():
    """The fallback: the same locks on named files; what a kill leaves is swept at the next start, and only that."""
    said = killed(12, FLOWCORE_SHM="named")
    assert said["killed"] == {
        "producer": {"whole, 0 pools open": 4},
        "consumer": {"4 slots": 4},
        "both": {"nobody is left": 4},
    }
    # A consumer sweeps its dead producer's file when it has let go; a producer that ends leaves its own.
    assert said["named_files"] and set(said["named_files"]) <= set(named())
    pid, start = own()
    mine = SHM / f"flowcore-{namespace()}-{pid}-{start}-{5:016x}"
    mine.write_bytes(b"in use")
    try:
        assert sweep() >= len(said["named_files"])
        assert named() == [mine.name]
    finally:
        mine.unlink()


def test_a_named_file_stays_while_a_reader_has_a_slot(codec, new_peer, monkeypatch):
    """Its owner was killed, a reader passes it on: the next one finds it by its name. Then it goes."""
    monkeypatch.setenv("FLOWCORE_SHM", "named")
    owner, reader = new_peer(), new_peer()
    seen = reader.read("a", owner.make("a", (64, 1024), 3))
    assert seen[0] == "sealed" and len(named()) == 1
    owner.kill()
    assert sweep() == 0
    tensor = codec.unpack(reader.forward("a"))
    reader.kill()
    assert (tensor.numpy() == 3).all()
    assert sweep() == 0
    del tensor
    codec.readers.trim(1e9)
    assert named() == []


def test_a_full_shm_is_an_error_and_no_crash(monkeypatch):
    """Memory of named files is taken when the pool is made; the text says what to do."""
    monkeypatch.setenv("FLOWCORE_SHM", "named")
    free = os.statvfs(SHM).f_bavail * os.statvfs(SHM).f_frsize
    with pytest.raises(OSError, match="flowcore doctor says how"):
        Pools(4 * free).alloc(2 * free)
    assert named() == []


def test_the_probe_tells_what_is_there(monkeypatch):
    """Memfds here; named files when asked for, with what to change where /dev/shm is small."""
    assert probe.probe().kind == "memfd"
    monkeypatch.setenv("FLOWCORE_SHM", "named")
    assert (found := probe.probe()).kind == "named" and found.shm_bytes > 0
