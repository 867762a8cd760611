"""Flows and nodes as JSON: out of the editor and into it."""

import json
from pathlib import Path

import pytest

from tests.e2e.hands import command, deploy, document, expect, node, wire

EXPORTS = Path(__file__).parents[1] / "convert" / "exports"

pytestmark = [pytest.mark.asyncio(loop_scope="module"), pytest.mark.xdist_group("e2e")]


async def test_a_selection_is_exported_and_imported_from_its_file(page, tmp_path):
    await node(page, "hot").click()
    await node(page, "show").click(modifiers=["Shift"])
    await page.keyboard.press("Control+e")
    form = page.get_by_role("dialog", name="Export")
    await expect(form).to_contain_text("The selection (2 nodes)")
    async with page.expect_download() as download:
        await form.get_by_role("button", name="Download").click()
    file = tmp_path / "nodes.json"
    await (await download.value).save_as(file)
    assert [one["id"] for one in json.loads(file.read_text())["flowcore-nodes"]["nodes"]] == ["hot", "show"]

    await page.keyboard.press("Control+i")
    form = page.get_by_role("dialog", name="Import")
    await form.locator("input[type=file]").set_input_files(file)
    await expect(form.get_by_label("What will be imported")).to_contain_text("2 nodes")
    await form.get_by_role("button", name="Import").click()
    await expect(wire(page, "hot-2.out1>show-2.in")).to_have_count(1)
    await page.keyboard.press("Control+z")
    await expect(node(page, "hot-2")).to_have_count(0)


async def test_what_is_missing_is_named_before_anything_changes(page, runtime):
    flow = await document(runtime)
    flow["nodes"].append({"id": "odd", "type": "acme/no-such"})
    await command(page, "import json")
    form = page.get_by_role("dialog", name="Import")
    for bad, why in (("{", "This is not JSON"), ("[]", "This is no flow"), ('{"nodes": [{}]}', "This is no flow")):
        await form.get_by_label("Or paste JSON").fill(bad)
        await expect(form.get_by_role("alert")).to_contain_text(why)
        await expect(form.get_by_role("button", name="Import")).to_be_disabled()
    await form.get_by_label("Or paste JSON").fill(json.dumps({"flows": [flow]}))
    summary = form.get_by_label("What will be imported")
    await expect(summary).to_contain_text("acme/no-such, once")
    await expect(summary).to_contain_text("the id line is taken")
    await expect(page.get_by_role("tab", name="Line")).to_have_count(1)
    await form.get_by_role("button", name="Import").click()
    await expect(node(page, "odd")).to_contain_text("type acme/no-such is not installed")
    await expect(page.get_by_role("tab", name="Line")).to_have_count(2)


async def test_an_export_of_node_red_is_imported_with_what_could_not_be_turned(page):
    await page.keyboard.press("Control+i")
    form = page.get_by_role("dialog", name="Import")
    await form.locator("input[type=file]").set_input_files(EXPORTS / "other-packages.json")
    await expect(form.get_by_label("What will be imported")).to_contain_text("could not be turned")
    await form.locator("input[type=file]").set_input_files(EXPORTS / "first-steps.json")
    summary = form.get_by_label("What will be imported")
    await expect(summary).not_to_contain_text("could not be turned")
    await form.get_by_role("button", name="Import").click()
    await expect(page.locator(".node").first).to_be_visible()
    assert "started every-five-seconds, say-when" in await deploy(page)
