"""`docs/live-table.svg`: the live table of `make run`, drawn from a real run of the factory flow.

    python docs/live_table.py [SECONDS]

Starts a runtime of its own on free ports with simulated machines, waits until an alarm has been raised (SECONDS at
most, 60 if not given), asks for the status as the command does, and exports what rich draws of it.
"""

import asyncio
import re
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from rich.console import Console, Group

from flowcore import client
from flowcore.cli.live import draw, head

ROOT = Path(__file__).parents[1]
SHOWN = ROOT / "docs" / "live-table.svg"
_SHORTEST_S = 20.0  # so that rates and medians are those of a flow that has settled
_WIDTH = 132


async def picture(longest_s: float) -> None:
    """Run the flow, wait for something to see, draw it."""
    with tempfile.TemporaryDirectory(prefix="flowcore-") as folder:
        data = Path(folder) / ".flowcore"
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "flowcore.cli", "up", str(ROOT / "flows" / "factory.json")),
            *("--simulate", "machines", "--nats-port", "0", "--mqtt-port", "0", "--data", str(data)),
            cwd=folder,
            stdout=asyncio.subprocess.PIPE,
        )
        try:
            assert process.stdout is not None
            while line := await process.stdout.readline():
                if b"factory" in line:  # it has said what the deploy did
                    break
            async with client.connect(data) as fc:
                status = await _something_to_see(fc, longest_s)
        finally:
            process.terminate()
            await process.wait()
    _export(status)


async def _something_to_see(fc: client.Client, longest_s: float) -> dict[str, Any]:
    begun_s = time.monotonic()
    while True:
        status = await fc.call("status")
        nodes = {node["node"]: node for flow in status["flows"] for node in flow["nodes"]}
        age_s = time.monotonic() - begun_s
        is_hot = any("raised" in nodes[name]["badge"] for name in ("hot", "shaking") if name in nodes)
        if age_s > longest_s or (age_s > _SHORTEST_S and is_hot):
            return status
        await asyncio.sleep(0.5)


def _export(status: dict[str, Any]) -> None:
    status["host"] |= {"folder": ".flowcore", "url": "nats://127.0.0.1:4222", "mqtt_port": 1883}  # as at home
    for flow in status["flows"]:
        for node in flow["nodes"]:
            if node["badge"].startswith("connected to"):
                node["badge"] = "connected to mqtt://127.0.0.1:1883"
    console = Console(record=True, width=_WIDTH, file=Path("/dev/null").open("w"))  # noqa: SIM115
    console.print(Group(head(status), draw(status)), highlight=False)
    drawn = console.export_svg(title="make run", unique_id="flowcore")
    drawn = re.sub(r"\s*@font-face \{.*?\}", "", drawn, flags=re.DOTALL)  # whatever monospace font there is will do
    SHOWN.write_text(drawn, encoding="utf-8")
    print(SHOWN.relative_to(ROOT))


if __name__ == "__main__":
    asyncio.run(picture(float(sys.argv[1]) if len(sys.argv) > 1 else 60.0))
