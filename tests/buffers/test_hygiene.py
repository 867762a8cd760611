"""Nothing is left behind by processes that are killed, whichever and whenever."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from flowcore.buffers.files import SHM, sweep
from flowcore.buffers.place import namespace, own

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


def test_named_files_are_swept():
    """The fallback: the same locks on named files; what a kill leaves is swept at the next start, and only that."""
    said = killed(12, FLOWCORE_SHM="named")
    assert said["killed"] == {
        "producer": {"whole, 0 pools open": 4},
        "consumer": {"4 slots": 4},
        "both": {"nobody is left": 4},
    }
    assert len(said["named_files"]) == 12
    pid, start = own()
    mine = SHM / f"flowcore-{namespace()}-{pid}-{start}-{5:016x}"
    mine.write_bytes(b"in use")
    try:
        assert sweep() == 12
        assert list(SHM.glob(f"flowcore-{namespace()}-*")) == [mine]
    finally:
        mine.unlink()
