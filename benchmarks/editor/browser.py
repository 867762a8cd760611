"""A headless browser before the editor of a runtime, and how what is found is told."""

import contextlib
import json
import shutil
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import psutil

from flowcore.bench.runtime import Runtime, until
from flowcore.gateway.sessions import Sessions

_NAMES = ("chromium", "chromium-browser", "google-chrome")
_OPTIONS = ("--no-sandbox", "--disable-gpu", "--disable-background-networking", "--disable-component-update")


def chromium() -> tuple[str, str]:
    """Where the browser is, and its version."""
    path = next((found for name in _NAMES if (found := shutil.which(name))), None)
    if path is None:
        sys.exit("chromium is not installed: sudo apt-get install chromium")
    return path, subprocess.run([path, "--version"], capture_output=True, text=True, check=False).stdout.strip()


async def address(runtime: Runtime) -> str:
    """Where the editor is, once it is there."""
    file = runtime.data / "editor.json"

    async def is_there() -> bool:
        return file.is_file()

    await until(is_there, "the editor")
    return str(json.loads(file.read_text())["url"])


def session(runtime: Runtime) -> str:
    """A token for programs."""
    return Sessions(runtime.data).token("session", 3600)


@asynccontextmanager
async def browser() -> AsyncIterator[Any]:
    """Chromium, driven by playwright."""
    from playwright.async_api import async_playwright

    async with async_playwright() as playwright:
        one = await playwright.chromium.launch(executable_path=chromium()[0], args=list(_OPTIONS))
        try:
            yield one
        finally:
            await one.close()


@asynccontextmanager
async def page_of(one: Any, script: str = "") -> AsyncIterator[Any]:
    """A page of a profile of its own, with nothing in its cache. `script` runs in it before everything else."""
    context = await one.new_context(viewport={"width": 1280, "height": 720})
    try:
        page = await context.new_page()
        if script:
            await page.add_init_script(script)
        yield page
    finally:
        await context.close()


def processor_s() -> float:
    """Processor time of the browser so far, in seconds: on a busy machine it says more than the clock."""
    spent = 0.0
    for process in psutil.Process().children(recursive=True):
        with contextlib.suppress(psutil.Error):
            if "chrom" in process.name():
                spent += sum(process.cpu_times()[:2])
    return spent


def told(name: str, value: float, unit: str, limit: str, is_reached: bool, spread: str = "") -> str:
    """A line of the report."""
    verdict = "reached" if is_reached else "MISSED"
    return f"{name:<58}{f'{value:,.4g} {unit}':>14}   {limit:<12}{verdict:<9}{spread}"
