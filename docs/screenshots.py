"""Take the pictures of the editor for README and docs: `python docs/screenshots.py`.

Runs the factory flow and its simulated machines in a temporary folder, and Chromium before it.
Needs playwright (in `[dev]`) and chromium.
"""

import asyncio
import json
import shutil
import sys
import tempfile
from pathlib import Path

from playwright.async_api import Page, async_playwright

DOCS = Path(__file__).resolve().parent
FLOWS = DOCS.parent / "flows"
SIZE = {"width": 1280, "height": 720}


async def take(page: Page, name: str) -> None:
    """One picture."""
    await page.screenshot(path=DOCS / f"{name}.png")
    print(f"docs/{name}.png")


async def pictures(page: Page) -> None:
    """Editor, form, difference, dark theme."""
    await page.locator('.node[data-node="hot"]').wait_for()
    await page.get_by_role("tab", name="Debug").click()
    await page.get_by_label("Debug messages").locator("li").nth(6).wait_for(timeout=60_000)
    await page.locator(".tree-open[aria-label='Open payload']").first.click()
    await take(page, "editor")
    await page.locator('.node[data-node="hot"]').dblclick()
    await page.get_by_label("Name", exact=True).wait_for()
    await page.locator(".form-body .field").first.wait_for()
    await take(page, "editor-form")
    await page.get_by_label("Name", exact=True).fill("Much too hot")
    await page.keyboard.press("Control+Enter")
    await page.locator('.node[data-node="dusty"]').click()
    await page.keyboard.press("Delete")
    await page.get_by_role("button", name="Deploy", exact=True).click()
    await page.locator(".toasts li", has_text="revision").wait_for()
    await page.get_by_role("tab", name="History").click()
    await page.get_by_role("button", name="What changed").first.click()
    await page.locator(".diff-list li").first.wait_for()
    await take(page, "editor-difference")
    await page.get_by_role("dialog").get_by_role("button", name="Close").click()
    for _ in range(2):
        await page.keyboard.press("Control+Shift+p")
        await page.get_by_label("Action", exact=True).fill("theme")
        await page.keyboard.press("Enter")
    await page.get_by_role("tab", name="Info").click()
    await page.locator('.node[data-node="average"]').click()
    await page.locator(".panel dl dt", has_text="Memory").wait_for()
    await take(page, "editor-dark")


async def main() -> None:
    """A runtime, a browser, the pictures."""
    with tempfile.TemporaryDirectory() as folder:
        ports = ("--nats-port", "0", "--mqtt-port", "0", "--http-port", "0")
        up = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "flowcore.cli", "up", "--json", "--data", f"{folder}/.flowcore", *ports),
            *(str(FLOWS / "factory.json"), str(FLOWS / "hello.json"), "--simulate", "machines"),
            cwd=folder,
            stdout=asyncio.subprocess.PIPE,
        )
        assert up.stdout is not None
        try:
            while "editor" not in (said := json.loads(await up.stdout.readline())):
                pass
            async with async_playwright() as playwright:
                browser = await playwright.chromium.launch(
                    executable_path=shutil.which("chromium"), args=["--no-sandbox", "--disable-gpu"]
                )
                page = await browser.new_page(viewport=SIZE)  # type: ignore[arg-type]
                await page.goto(said["editor"]["start_url"])
                await pictures(page)
                await browser.close()
        finally:
            up.terminate()
            await up.wait()


if __name__ == "__main__":
    asyncio.run(main())
