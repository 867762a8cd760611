"""What the parity tests run on: the node types, a zygote for scripts, a host."""

import asyncio
import shutil
import tempfile
from importlib import import_module
from pathlib import Path

import pytest

from flowcore.runtime.typelist import read
from flowcore.runtime.zygote import ScriptZygote
from tests.parity.ours import Driven


@pytest.fixture(scope="session")
def types():
    """The installed node types."""
    return read().types


@pytest.fixture
async def driven(types):
    """Runs cases by `drive`, scripts in real workers."""
    folder = Path(tempfile.mkdtemp(prefix="flowcore-"))
    zygote = ScriptZygote(folder)
    zygote.start()
    try:
        async with asyncio.timeout(20):
            await zygote.listening.wait()
        classes = {
            name: getattr(import_module(info.module), info.qualname)
            for name, info in types.items()
            if info.distribution == "flowcore"
        }
        yield Driven(types, classes, zygote.path)
    finally:
        await zygote.stop()
        shutil.rmtree(folder, ignore_errors=True)
