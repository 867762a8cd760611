"""A script zygote of its own for each test."""

import shutil
import sys
import tempfile
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))  # for zygote_process, attacks

from zygote_process import start_zygote

from flowcore.script.client import ScriptWorker


@pytest.fixture
def folder():
    """A folder of mode 0700 with a short path."""
    path = Path(tempfile.mkdtemp(prefix="flowcore-"))
    yield path
    shutil.rmtree(path, ignore_errors=True)


@pytest.fixture
async def zygote(folder):
    """A script zygote that listens."""
    started = await start_zygote(folder / "script.sock")
    yield started
    await started.stop()


@pytest.fixture
async def script(zygote):
    """Make a started `ScriptWorker`: `await script(source, ...)`; all end with the test."""
    workers = []

    async def start(source: str, **options) -> ScriptWorker:
        worker = ScriptWorker(zygote.socket, source, **options)
        workers.append(worker)
        await worker.start()
        return worker

    yield start
    for worker in workers:
        worker.close()
