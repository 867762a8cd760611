"""The process that tries nodes on a sample: `python -m flowcore.testing.sampling`.

Reads one JSON object a line (`flowcore.testing.sample.Ask`) and writes one a line; the first line says that it is
ready. It keeps its runtime from one try to the next, and ends with its standard input. The gateway starts it.
"""

import asyncio
import json
import os
import signal
import sys
import traceback
from typing import Any

import uvloop
from pydantic import ValidationError

from flowcore.testing.rig import Rig
from flowcore.testing.sample import run

_LONGEST_LINE = 16 << 20


async def main() -> None:
    """Serve until the input ends."""
    me = asyncio.current_task()
    assert me is not None
    loop = asyncio.get_running_loop()
    loop.add_signal_handler(signal.SIGTERM, me.cancel)
    said = asyncio.StreamReader(limit=_LONGEST_LINE)
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(said), os.fdopen(os.dup(0), "rb"))
    async with Rig() as rig:
        _say({"ready": True})
        while line := await said.readline():
            _say(await _answer(rig, line))


async def _answer(rig: Rig, line: bytes) -> dict[str, Any]:
    try:
        return await run(rig, json.loads(line))
    except ValidationError as e:
        lines = [f"{'.'.join(map(str, one['loc']))}: {one['msg'].lower()}" for one in e.errors(include_url=False)]
        return {"outcome": "invalid", "lines": lines}
    except Exception as e:  # ours: said, and the next try goes on
        return {"outcome": "fault", "lines": traceback.format_exception(e)}


def _say(what: dict[str, Any]) -> None:
    sys.stdout.write(json.dumps(what) + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(main())
