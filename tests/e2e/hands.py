"""What a user does with mouse and keyboard, and where things are on the page."""

import asyncio
import contextlib
import json
import re

import pytest

expect = pytest.importorskip("playwright.async_api", reason="playwright is not installed: make install").expect
expect.set_options(timeout=20_000)  # what comes late on a busy machine still comes


def node(page, name):
    """A node on the canvas."""
    return page.locator(f'[data-node="{name}"]')


def port(page, end):
    """A port: `node.port`."""
    return page.locator(f'[data-port="{end}"]')


def wire(page, key):
    """A wire: `node.port>node.port`."""
    return page.locator(f'[data-id="{key}"]')


async def middle(locator):
    """The middle of something, in pixels of the page."""
    box = await locator.bounding_box()
    return box["x"] + box["width"] / 2, box["y"] + box["height"] / 2


async def drag(page, start, end):
    """With the mouse, in steps."""
    await page.mouse.move(*start)
    await page.mouse.down()
    await page.mouse.move((start[0] + end[0]) / 2, (start[1] + end[1]) / 2, steps=4)
    await page.mouse.move(*end, steps=4)
    await page.mouse.up()


async def choose(page, name):
    """Click a node until it is chosen: the view may be on its way to another one, and a press miss its release."""
    chosen = page.locator(f'.node.is-selected[data-node="{name}"]')
    async with asyncio.timeout(20):
        while not await chosen.count():
            await node(page, name).click()
            with contextlib.suppress(AssertionError):
                await expect(chosen).to_have_count(1, timeout=1000)


async def command(page, name):
    """Run an action by its name."""
    await page.keyboard.press("Control+Shift+p")
    await page.get_by_label("Action", exact=True).fill(name)
    await page.keyboard.press("Enter")


async def add(page, at, name):
    """Put a node to a place of the page."""
    await page.mouse.dblclick(*at)
    await page.get_by_label("Node type").fill(name)
    await page.keyboard.press("Enter")


async def take_in(page, **flow):
    """A flow of its own, as an import would make it; it is open then."""
    await page.evaluate("text => window.flowcoreTakeIn(text)", json.dumps({"flowcore": 1, **flow}))


async def document(runtime, flow="line"):
    """The flow as the runtime has it."""
    async with runtime.program() as http:
        return (await (await http.get(f"/api/flows/{flow}")).json())["document"]


async def deploy(page):
    """Press Deploy, and read what it says; what was said before is closed."""
    await page.evaluate("document.querySelectorAll('.toasts li button:last-child').forEach((one) => one.click())")
    await expect(page.locator(".toasts li")).to_have_count(0)
    await page.get_by_role("button", name="Deploy", exact=True).click()
    return await deployed(page)


async def deployed(page):
    """Wait for the end of a deploy of this browser, and read what it says."""
    said = page.locator(".toasts li", has_text=re.compile(r"revision \d+, \d+ kept")).last
    await expect(said).to_be_visible(timeout=30_000)  # a node type may be imported first
    return await said.inner_text()
