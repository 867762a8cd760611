"""Agents in a browser: a file that is saved is in the palette, drawn, deployed, and changed under the flow."""

import asyncio

import pytest

from tests.e2e.hands import add, deploy, drag, expect, middle, node, port

pytestmark = [pytest.mark.asyncio(loop_scope="module"), pytest.mark.xdist_group("e2e")]

AGENT = '''
from flowcore.node import Agent, NodeConfig, field


class TooHot(Agent):
    """Cool what is too hot."""

    class Config(NodeConfig):
        limit_c: float = field(80.0, description="Above this it is cooled, in °C")

    def on_message(self, message):
        self.state["seen"] = self.state.get("seen", 0) + 1
        if message.payload["t"] > self.config.limit_c:
            return self.act(message, "log", {"cool": self.state["seen"]})
'''


async def test_an_agent_is_saved_drawn_deployed_and_changed(page, runtime):
    """Its actions are followed to their end; what deploying fills in is neither a field nor a port to draw."""
    folder = runtime.folder / "flows" / "agents"
    folder.mkdir(parents=True)
    (folder / "too_hot.py").write_text(AGENT)
    await expect(page.locator('.palette-node[data-type="agent/too-hot"]')).to_be_visible(timeout=60_000)
    await add(page, (430, 400), "agent/too-hot")
    await add(page, (700, 400), "core/actions")
    for wire in (("tick.out", "too-hot.in"), ("too-hot.action", "actions.in"), ("actions.audit", "show.in")):
        await drag(page, *[await middle(port(page, end)) for end in wire])
        await expect(page.locator(f'[data-id="{">".join(wire)}"]')).to_have_count(1)
    for hidden in ("done", "failed"):
        await expect(port(page, f"actions.{hidden}")).to_have_count(0)
    await node(page, "actions").dblclick()
    form = page.get_by_role("dialog", name="Edit actions")
    await expect(form).to_contain_text("Backoff, seconds")
    await expect(form).not_to_contain_text("Followed")
    await page.keyboard.press("Escape")
    await node(page, "too-hot").dblclick()
    form = page.get_by_role("dialog", name="Edit too-hot")
    await form.get_by_label("Limit, °C").fill("20")
    await page.keyboard.press("Control+Enter")
    await page.locator('[data-id="hot.out1>show.in"]').click(force=True)
    await page.keyboard.press("Delete")
    assert "started too-hot, actions" in await deploy(page)
    asked = page.locator('[data-wire="too-hot.action>actions.in"]')
    await asked.hover()
    await expect(asked).to_contain_text("cool")
    await page.get_by_role("tab", name="Debug", exact=True).click()
    told = page.get_by_label("Debug messages").locator("li", has_text="outcome").first
    await expect(told).to_be_visible()
    await page.get_by_role("button", name="Pause").click()
    await told.get_by_label("Open payload", exact=True).click()
    await expect(told).to_contain_text('outcome:"done"')
    (folder / "too_hot.py").write_text(AGENT.replace('{"cool"', '{"cooled"'))
    async with asyncio.timeout(30):
        while "cooled" not in await asked.inner_text():
            await page.mouse.move(0, 0)
            await asked.hover()


async def test_a_file_that_cannot_be_used_is_named_in_the_palette_until_it_is_mended(page, runtime):
    folder = runtime.folder / "flows" / "agents"
    (folder / "broken.py").write_text("from flowcore.node import Agent\n\nclass Broken(Agent:\n")
    await page.get_by_text("can’t be used").click(timeout=60_000)
    named = page.locator(".palette-unusable")
    await expect(named).to_contain_text("broken.py")
    await expect(named).to_contain_text("broken.py:3: ")
    (folder / "broken.py").write_text(AGENT.replace("TooHot", "Broken"))
    await expect(page.locator('.palette-node[data-type="agent/broken"]')).to_be_visible(timeout=60_000)
    await expect(named).to_have_count(0)
