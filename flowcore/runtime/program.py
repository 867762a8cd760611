"""Short-lived programs of ours: what must import nodes runs in one, so that the host never does.

ProgramFailed   it ended without an answer, or gave none in time; the text is what it said last
"""

import asyncio
import contextlib
import json
import sys
from collections.abc import Mapping
from typing import Any


class ProgramFailed(RuntimeError):
    """No answer, and why."""


async def ask_program(module: str, environ: Mapping[str, str], timeout_s: float, given: bytes = b"") -> Any:
    """Run `python -m <module>` with `given` on its standard input.

    Returns:
        The JSON value in its last line of output: what a node prints while it is imported comes before.
    Raises:
        ProgramFailed
    """
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", module),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        env=environ,
        start_new_session=True,
    )
    try:
        async with asyncio.timeout(timeout_s):
            out, err = await process.communicate(given)
        return json.loads(out.splitlines()[-1])
    except TimeoutError:
        raise ProgramFailed(f"no answer in {timeout_s:.0f} s") from None
    except (ValueError, IndexError):
        raise ProgramFailed(err.decode(errors="replace").strip() or f"status {process.returncode}") from None
    finally:
        if process.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                process.kill()
            await process.wait()
