"""Panning over a large flow while its statistics come in: frames a second.

The statistics are recorded from a flow that runs, and replayed on the bus for every node of the large one, each at the
pace at which it came; the gateway hands them on ten times a second, as it does for flows that run.
"""

import asyncio
import statistics
import time
from typing import Any

from benchmarks.editor.browser import address, browser, page_of, processor_s, told
from benchmarks.editor.flows import chains
from flowcore.bench.runtime import Runtime
from flowcore.bus.connection import Connection
from flowcore.bus.envelope import pack, unpack
from flowcore.gateway.sessions import Sessions

NODES = 500
RECORDED_NODES = 10
LEAST_FPS = 30.0
_RECORDING_S = 5.0
_RUN_S = 4
_FLOW = "many"

# As a user does with a wheel or a touchpad: a step each frame, back and forth; counts the frames.
_PAN = """(seconds) => new Promise((done) => {
  const pane = document.querySelector(".react-flow__pane");
  const began = performance.now();
  let frames = 0, longest = 0, before = began;
  const step = (now) => {
    longest = Math.max(longest, now - before);
    before = now;
    if (now - began > seconds * 1000) return done({ fps: frames / ((now - began) / 1000), longest });
    frames += 1;
    const there = Math.floor((now - began) / 1000) % 2 ? -1 : 1;
    pane.dispatchEvent(new WheelEvent("wheel", { deltaX: 14 * there, deltaY: 6 * there, bubbles: true, cancelable: true,
      clientX: 600, clientY: 400 }));
    requestAnimationFrame(step);
  };
  requestAnimationFrame(step);
})"""


async def panning(runtime: Runtime, is_quick: bool) -> list[str]:
    """Frames a second while panning, median of five runs."""
    url = await address(runtime)
    at = runtime.client.target
    bus = Connection(at.url, user=at.user, password=at.password, name="replay")
    await bus.connect(timeout=30)
    try:
        recording = await _record(runtime, bus)
        await runtime.client.call("stop", flow=_FLOW)
        await runtime.client.call("deploy", documents=[{"document": chains(_FLOW, NODES)}], timeout=60)
        async with browser() as one, page_of(one) as page:
            await page.goto(f"{url}/?token={Sessions(runtime.data).token('start', 60)}")
            await page.locator(".node").first.wait_for()
            replaying = asyncio.create_task(_replay(bus, recording))
            try:
                await page.locator(".wire-label").first.wait_for()
                lines = [await _pan(page, "as it opens", is_quick)]
                await page.get_by_role("button", name="Fit View").click()
                await page.locator(".node").nth(NODES - 1).wait_for(timeout=60_000)
                lines.append(await _pan(page, "all of it in view", is_quick))
            finally:
                replaying.cancel()
    finally:
        await bus.close()
    return lines


async def _pan(page: Any, what: str, is_quick: bool) -> str:
    spent_s = processor_s()
    runs = [await page.evaluate(_PAN, _RUN_S) for _ in range(2 if is_quick else 5)]
    rates = [run["fps"] for run in runs]
    spent_ms = 1000 * (processor_s() - spent_s) / (sum(rates) * _RUN_S)
    median, drawn = statistics.median(rates), await page.locator(".node").count()
    reached = median >= LEAST_FPS
    longest = max(run["longest"] for run in runs)
    spread = (
        f"{min(rates):.0f} to {max(rates):.0f}; {spent_ms:.0f} ms of processor time a frame; longest {longest:.0f} ms; "
    )
    spread += f"{drawn} nodes in view; statistics of all {NODES} come ten times a second"
    return told(f"panning over a flow of {NODES} nodes, {what}", median, "fps", ">= 30 fps", reached, spread)


Recording = list[tuple[float, str, dict[str, Any]]]


async def _record(runtime: Runtime, bus: Connection) -> Recording:
    """What the statistics of a flow that runs were: seconds from the start, node, body."""
    found: Recording = []
    began = time.monotonic()

    def take(subject: str, data: bytes, _reply: str, _headers: bytes) -> None:
        found.append((time.monotonic() - began, subject.split(".")[2], unpack(data)))

    await runtime.deploy(chains(_FLOW, RECORDED_NODES))
    await runtime.until_running(_FLOW)
    began = time.monotonic()
    await bus.subscribe(f"flow.{_FLOW}.*.stats", take)
    await asyncio.sleep(_RECORDING_S)
    await bus.unsubscribe(f"flow.{_FLOW}.*.stats")
    return found


async def _replay(bus: Connection, recording: Recording) -> None:
    """Over and over, for each chain of the large flow a little later than for the one before."""
    chain_count, recorded = NODES // 5, RECORDED_NODES // 5
    due = sorted(
        ((at + chain * _RECORDING_S / chain_count) % _RECORDING_S, chain, node, body)
        for chain in range(chain_count)
        for at, node, body in recording
        if node.startswith(f"c{chain % recorded}-")
    )
    packed = [(at, *_of_chain(chain, node, body)) for at, chain, node, body in due]
    began = time.monotonic()
    while True:
        for at, subject, data in packed:
            if (wait := began + at - time.monotonic()) > 0:
                await asyncio.sleep(wait)
            bus.publish(subject, data)
        began += _RECORDING_S


def _of_chain(chain: int, node: str, body: dict[str, Any]) -> tuple[str, bytes]:
    """What a node of the recording said, as said by its like in another chain."""
    before, after = f"{node.split('-')[0]}-", f"c{chain}-"

    def renamed(value: Any) -> Any:
        if isinstance(value, str):
            return value.replace(before, after)
        if isinstance(value, list):
            return [renamed(one) for one in value]
        return {key: renamed(one) for key, one in value.items()} if isinstance(value, dict) else value

    return f"flow.{_FLOW}.{node.replace(before, after)}.stats", pack(renamed(body))
