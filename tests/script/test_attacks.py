"""The table of attacks, as root and without any privilege: each is held, and no bystander notices."""

import asyncio
import json
import os
import shutil
import sys
import tempfile
from functools import cache
from pathlib import Path

import pytest
from attacks import ATTACKS, OF_THE_KERNEL

RUNNER = Path(__file__).parent / "attack_runner.py"
NOBODY = 65534
USERS = ["root", "unprivileged"] if os.geteuid() == 0 else ["as we are"]


@cache
def outcomes(user: str) -> dict[str, str]:
    """Run the whole table once for a user."""
    folder = Path(tempfile.mkdtemp(prefix="flowcore-"))
    try:
        return json.loads(asyncio.run(_run(folder, [str(NOBODY)] if user == "unprivileged" else [])))
    finally:
        shutil.rmtree(folder, ignore_errors=True)


async def _run(folder: Path, more: list[str]) -> bytes:
    process = await asyncio.create_subprocess_exec(
        sys.executable, str(RUNNER), str(folder), *more, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE
    )
    async with asyncio.timeout(180):
        out, err = await process.communicate()
    assert process.returncode == 0, err.decode()
    return out


TRIED = [(attack, user) for user in USERS for attack in (ATTACKS if user == USERS[0] else OF_THE_KERNEL)]


@pytest.mark.parametrize(("attack", "user"), TRIED, ids=lambda each: getattr(each, "name", each))
def test_attack_is_held(attack, user):
    """What the table says must come of it, and the other scripts went on."""
    assert outcomes(user)[attack.name] in attack.must


@pytest.mark.parametrize("user", USERS)
def test_nothing_was_touched(user):
    """The canary file, the process of the same user and the listening socket are as they were."""
    assert set(outcomes(user)) == {attack.name for attack, tried_by in TRIED if tried_by == user}


def test_the_table_is_as_long_as_promised():
    """At least 35 attacks, no name twice."""
    assert len(ATTACKS) >= 35
    assert len({attack.name for attack in ATTACKS}) == len(ATTACKS)
