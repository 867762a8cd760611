"""A real browser before a real runtime. Fails on every report of the page's content policy and on every error in it."""

import json
import shutil
from pathlib import Path

import pytest
import pytest_asyncio

from tests.gateway.runtime import Runtime, install, write_package

BUILT = Path(__file__).parents[2] / "flowcore" / "gateway" / "editor" / "index.html"
BROWSERS = ("chromium", "chromium-browser", "google-chrome")
QUIET = (
    "--disable-gpu",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--no-first-run",
)
# Chromium puts a style of its own on a line of CodeMirror when a selection is typed over, and reports itself for it.
REPORT = """document.addEventListener("securitypolicyviolation", (event) => {
  if (!event.target.closest?.(".cm-line")) window.reported(`${event.effectiveDirective}: ${event.blockedURI}`);
});"""
PICTURES = """
import asyncio
import numpy
from flowcore.node import Node, Out, hookimpl
from flowcore.node.preview import of_array


class Pictures(Node):
    \"\"\"Send a frame, a row of numbers and a PNG by turns.\"\"\"

    type = "pics/source"
    out = Out()

    async def run(self):
        frame = numpy.zeros((120, 160, 3), numpy.uint8)
        frame[:, 80:] = 255
        while True:
            for value in (frame, numpy.sin(numpy.arange(500) / 50), of_array(frame)["picture"]):
                await self.send(value)
                await asyncio.sleep(0.6)


@hookimpl
def flowcore_node_types():
    return [Pictures]
"""
FLOW = {
    "flowcore": 1,
    "id": "line",
    "name": "Line",
    "nodes": [
        {
            "id": "tick",
            "type": "core/inject",
            "config": {"payload": {"t": 21}, "every_s": 0.2},
            "ui": {"x": 60, "y": 100},
        },
        {
            "id": "hot",
            "type": "core/switch",
            "name": "Hot?",
            "config": {"rules": [{"op": "not null"}]},
            "ui": {"x": 320, "y": 100},
        },
        {"id": "show", "type": "core/debug", "ui": {"x": 580, "y": 100}},
        {"id": "text", "type": "core/json", "ui": {"x": 320, "y": 300}},
    ],
    "wires": [{"from": "tick.out", "to": "hot.in"}, {"from": "hot.out1", "to": "show.in"}],
}


def _browser_path():
    return next((found for name in BROWSERS if (found := shutil.which(name))), None)


def pytest_collection_modifyitems(items):
    """Without a browser, or an editor, there is nothing to try: say so."""
    why = None
    if _browser_path() is None:
        why = "chromium is not installed: sudo apt-get install chromium"
    elif not BUILT.is_file():
        why = "the editor is not built: make editor"
    for item in items:
        if why and item.path.is_relative_to(Path(__file__).parent):
            item.add_marker(pytest.mark.skip(reason=why))


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def runtime(tmp_path_factory):
    """One that runs the flow `line`."""
    folder = tmp_path_factory.mktemp("editor")
    (folder / "line.json").write_text(json.dumps(FLOW))
    one = Runtime(folder)
    write_package(one.site, "acme", {"value": "float"}, {"text": "str"})
    install(one.site, "pics", PICTURES)
    try:
        await one.up("line.json")
        yield one
    finally:
        await one.down()


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def chromium():
    """The browser."""
    from playwright.async_api import async_playwright

    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=_browser_path(), args=["--no-sandbox", *QUIET])
        yield browser
        await browser.close()


@pytest_asyncio.fixture(loop_scope="module")
async def open_editor(runtime, chromium):
    """Open the editor as another person would: a browser profile of its own."""
    contexts, faults = [], []

    async def go():
        context = await chromium.new_context(viewport={"width": 1280, "height": 720}, reduced_motion="reduce")
        context.set_default_timeout(20_000)
        contexts.append(context)
        page = await context.new_page()
        page.on("pageerror", lambda error: faults.append(str(error)))
        await page.expose_function("reported", lambda text: faults.append(text))
        await page.add_init_script(REPORT)
        await page.goto(f"{runtime.url}/?token={runtime.sessions.token('start', 60)}")
        await page.locator(".node").first.wait_for()
        return page

    yield go
    for context in contexts:
        await context.close()
    assert not faults, faults


@pytest_asyncio.fixture(loop_scope="module")
async def page(open_editor, runtime):
    """One browser, before the flow `line` as it was."""
    async with runtime.program() as http:
        await (await http.post("/api/deploy", json={"documents": [{"document": FLOW}]})).read()
        for flow in (await (await http.get("/api/flows")).json())["flows"]:
            if flow["flow"] != "line":
                await http.delete(f"/api/flows/{flow['flow']}")
    return await open_editor()
