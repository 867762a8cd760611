"""A runtime with its gateway, as `flowcore up` starts it: one for all tests of a file."""

import json

import pytest_asyncio

from tests.gateway.runtime import TICKS, Runtime


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def runtime(tmp_path_factory):
    """One with the flow `ticks`."""
    folder = tmp_path_factory.mktemp("gateway")
    (folder / "ticks.json").write_text(json.dumps(TICKS))
    one = Runtime(folder)
    try:
        one.start_url = await one.up("ticks.json")
        yield one
    finally:
        await one.down()
