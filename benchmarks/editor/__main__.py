"""The editor's budgets: first paint, frames a second while panning, JavaScript of the first view, the gateway's memory.

    python -m benchmarks.editor [--quick] [paint] [pan] [memory]

A real `flowcore up`, and headless Chromium, which draws without a graphics card: a desktop is faster. `--quick` takes
fewer runs, and one minute for the memory in place of ten.
"""

import argparse
import asyncio
import tempfile
from collections.abc import Awaitable, Callable
from pathlib import Path

from benchmarks.editor.browser import chromium
from benchmarks.editor.memory import gateway_memory
from benchmarks.editor.paint import first_view
from benchmarks.editor.pan import panning
from flowcore.bench.machine import machine, surroundings
from flowcore.bench.runtime import Runtime

Part = Callable[[Runtime, bool], Awaitable[list[str]]]
PARTS: dict[str, Part] = {"paint": first_view, "pan": panning, "memory": gateway_memory}


async def main(names: list[str], is_quick: bool) -> None:
    """Measure, each part on a runtime of its own, and print a line a figure."""
    on = machine()
    print(f"{on['cpu']}, {on['cores']} cores, {on['system']}; headless {chromium()[1]}, no graphics card")
    busy = await asyncio.to_thread(surroundings)
    print("busy beside it: " + (", ".join(f"{one['name']} {one['cpu']:.0%}" for one in busy["busy"]) or "nothing"))
    for name in names:
        with tempfile.TemporaryDirectory(prefix="flowcore-editor-") as folder:
            async with Runtime(Path(folder), "--editor", "--http-port", "0", "--drain", "0") as runtime:
                for line in await PARTS[name](runtime, is_quick):
                    print(line, flush=True)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("parts", nargs="*", choices=[*PARTS, []], help="which; all when none is named")
    parser.add_argument("--quick", action="store_true", help="fewer and shorter runs")
    arguments = parser.parse_args()
    asyncio.run(main(arguments.parts or list(PARTS), arguments.quick))
