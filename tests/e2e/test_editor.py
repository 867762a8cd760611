"""What a user does in the editor, in a browser, before a running flow. The list is in `docs/editor.md`."""

import json
from pathlib import Path

import pytest

from tests.e2e.hands import deploy, deployed, document, drag, expect, middle, node, port
from tests.gateway.runtime import write_package

AXE = Path(__file__).parents[2] / "web-editor" / "node_modules" / "axe-core" / "axe.min.js"

pytestmark = [pytest.mark.asyncio(loop_scope="module"), pytest.mark.xdist_group("e2e")]


async def test_the_start_url_opens_the_flow_and_the_palette_filters(page):
    for place in ("Palette", "Sidebar"):
        await expect(page.get_by_label(place, exact=True)).to_be_visible()
    await expect(node(page, "hot")).to_contain_text("Hot?")
    await expect(page.get_by_role("button", name="Deploy", exact=True)).to_be_disabled()
    await page.get_by_label("Filter nodes").fill("deadband")
    await expect(page.locator(".palette-node")).to_have_count(1)
    await page.get_by_label("Filter nodes").fill("")
    common = page.locator(".palette-category", has_text="common")
    await common.click()
    await page.reload()
    await expect(common).to_have_attribute("aria-expanded", "false")
    await expect(page.locator(".palette-node").first).to_have_attribute("data-type", "core/aggregate")


async def test_a_node_is_dragged_wired_deployed_undone_and_its_neighbours_joined(page, runtime):
    await page.locator('.palette-node[data-type="core/change"]').drag_to(
        page.get_by_test_id("canvas"), target_position={"x": 500, "y": 500}
    )
    await expect(node(page, "change")).to_be_visible()
    await drag(page, await middle(port(page, "text.out")), await middle(port(page, "change.in")))
    await expect(page.locator('[data-id="text.out>change.in"]')).to_have_count(1)
    await page.keyboard.press("Control+z")
    await expect(page.locator('[data-id="text.out>change.in"]')).to_have_count(0)
    await page.keyboard.press("Control+Shift+z")
    await expect(node(page, "change").get_by_label("changed")).to_be_visible()
    button = page.get_by_role("button", name="Deploy", exact=True)
    await button.hover()  # it stays as readable as it was
    colours = await button.evaluate("(it) => [getComputedStyle(it).color, getComputedStyle(it).backgroundColor]")
    assert "255, 255, 255" in colours[0] and "/" not in colours[1]
    assert "started change" in await deploy(page)
    assert {"from": "text.out", "to": "change.in"}.items() <= (await document(runtime))["wires"][-1].items()
    await node(page, "hot").click()
    await page.keyboard.press("Control+Delete")
    await expect(page.locator('[data-id="tick.out>show.in"]')).to_have_count(1)


async def test_quick_add_puts_a_node_at_the_pointer_and_into_a_wire(page):
    x, y = await middle(page.locator('[data-id="tick.out>hot.in"] .react-flow__edge-path'))
    await page.mouse.dblclick(x, y + 160)
    await page.get_by_label("Node type").fill("deadb")
    await page.keyboard.press("Enter")
    added = node(page, "deadband")
    await expect(added).to_be_visible()
    await drag(page, await middle(added), (x, y))
    for wire in ("tick.out>deadband.value", "deadband.changed>hot.in"):
        await expect(page.locator(f'[data-id="{wire}"]')).to_have_count(1)


async def test_a_wire_that_does_not_fit_is_refused_with_the_reason(page):
    await page.mouse.dblclick(250, 560)
    await page.get_by_label("Node type").fill("threshold")
    await page.keyboard.press("Enter")
    await page.mouse.dblclick(560, 560)
    await page.get_by_label("Node type").fill("acme")
    await page.keyboard.press("Enter")
    await expect(node(page, "convert")).to_be_visible()
    start, end = await middle(port(page, "threshold.out")), await middle(port(page, "convert.value"))
    await page.mouse.move(*start)
    await page.mouse.down()
    await page.mouse.move(*end, steps=6)
    await expect(page.locator('.is-unfit[data-port="convert.value"]')).to_have_count(1)
    await page.mouse.up()
    await expect(page.locator(".toasts li").last).to_contain_text("value takes number")
    await expect(page.locator('[data-id="threshold.out>convert.value"]')).to_have_count(0)


async def test_a_package_that_is_installed_now_is_in_the_palette_without_a_reload(page, runtime):
    write_package(runtime.site, "late", {"value": "float"}, {"text": "str"})
    await expect(page.locator('.palette-node[data-type="late/convert"]')).to_be_visible(timeout=60_000)


async def test_a_wire_says_how_it_delivers(page, runtime):
    await page.locator('[data-id="hot.out1>show.in"]').click(force=True)
    await page.get_by_label("Delivery").select_option("latest")
    await page.get_by_label("Keep, messages").fill("5")
    assert "rewired hot, show" in await deploy(page)
    wire = next(one for one in (await document(runtime))["wires"] if one["to"] == "show.in")
    assert (wire["delivery"], wire["keep"]) == ("latest", 5)


async def test_the_form_is_made_of_the_schema_shows_errors_at_the_field_and_saves(page, runtime):
    await node(page, "tick").dblclick()
    form = page.get_by_role("dialog", name="Edit tick")
    await form.get_by_label("Every, seconds").fill("-1")
    await expect(form.locator(".error-detail, .text-danger").first).to_be_visible()
    await form.get_by_label("Every, seconds").fill("0.5")
    await form.get_by_label("Name").fill("Twice a second")
    await page.keyboard.press("Control+Enter")
    await expect(form).to_have_count(0)
    await expect(node(page, "tick")).to_contain_text("Twice a second")
    await node(page, "tick").dblclick()
    await page.keyboard.press("Escape")
    await deploy(page)
    tick = (await document(runtime))["nodes"][0]
    assert (tick["name"], tick["config"]["every_s"]) == ("Twice a second", 0.5)


async def test_every_form_opens_without_a_report_of_the_content_policy(page, runtime):
    async with runtime.program() as http:
        types = (await (await http.get("/api/types")).json())["types"]
    shown = [one for one in types if one["type"] != "core/comment"]
    nodes = [{"id": f"n{k}", "type": one["type"], "ui": {"x": 40, "y": 60 * k}} for k, one in enumerate(shown)]
    text = json.dumps({"flowcore": 1, "id": "forms", "name": "Forms", "nodes": nodes})
    await page.evaluate("text => window.flowcoreTakeIn(text)", text)
    for k, one in enumerate(shown):
        await page.evaluate("id => window.flowcoreOpenForm(id)", f"n{k}")
        form = page.get_by_role("dialog", name=f"Edit n{k}", exact=True)
        await expect(form.get_by_role("button", name="Save")).to_be_visible()
        await expect(form.locator(".form-body > *").first).to_be_visible()
        assert "Unsupported field" not in await form.inner_text(), one["type"]
    await page.evaluate("window.flowcoreOpenForm(null)")


async def test_a_script_is_edited_with_colours(page, runtime):
    await page.mouse.dblclick(560, 560)
    await page.get_by_label("Node type").fill("core/function")
    await page.keyboard.press("Enter")
    await node(page, "function").dblclick()
    code = page.locator(".cm-content")
    await code.click()
    await page.keyboard.press("Control+a")
    await page.keyboard.type("msg.payload = 1\nreturn msg")
    await expect(page.locator(".cm-line")).to_have_count(2)
    await page.get_by_role("button", name="Save").click()
    await deploy(page)
    function = next(one for one in (await document(runtime))["nodes"] if one["id"] == "function")
    assert function["config"]["script"] == "msg.payload = 1\nreturn msg"


async def test_errors_of_a_deploy_lead_to_the_node(page):
    await page.mouse.dblclick(560, 560)
    await page.get_by_label("Node type").fill("core/nats-in")
    await page.keyboard.press("Enter")
    await node(page, "nats-in").dblclick()
    await page.get_by_role("button", name="Save").click()
    await page.get_by_role("button", name="Deploy", exact=True).click()
    said = page.locator(".toasts li.is-error").last
    await expect(said).to_contain_text("error")


async def test_live_states_rates_debug_messages_inject_and_kill(page):
    await expect(page.locator('[data-wire="tick.out>hot.in"]')).to_contain_text("/s")
    await page.get_by_role("tab", name="Debug").click()
    messages = page.get_by_label("Debug messages").locator("li")
    await expect(messages.first).to_contain_text("line.show")
    await messages.first.get_by_label("Open payload", exact=True).click()
    await page.get_by_role("button", name="Pause").click()
    await page.get_by_role("button", name="Clear").click()
    await expect(messages).to_have_count(0)
    await page.get_by_role("button", name="Go on").click()
    await expect(messages.first).to_be_visible()
    await page.get_by_label("Inject tick").click()
    await expect(page.locator(".toasts li").last).to_contain_text("tick: sent")
    await page.get_by_role("tab", name="Info").click()
    await node(page, "show").click()
    row = page.locator(".panel table tr").first
    await expect(row).to_contain_text("pid")
    before = await row.inner_text()
    await node(page, "show").click(button="right")
    await page.get_by_role("menuitem", name="Kill").click()
    await expect(row).not_to_have_text(before)
    await expect(row).to_contain_text("running")
    await expect(page.locator(".panel dl").first).to_contain_text("Memory")


async def test_errors_show_with_their_traceback_and_lead_to_the_node(page, runtime):
    broken = {**(await document(runtime))}
    broken["nodes"] = [
        *broken["nodes"],
        {
            "id": "bad",
            "type": "core/function",
            "config": {"script": "raise ValueError('no good')"},
            "ui": {"x": 580, "y": 200},
        },
    ]
    broken["wires"] = [*broken["wires"], {"from": "tick.out", "to": "bad.in", "delivery": "latest"}]
    async with runtime.program() as http:
        await (await http.post("/api/deploy", json={"documents": [{"document": broken}]})).read()
    await expect(node(page, "bad")).to_be_visible()
    await page.get_by_role("tab", name="Errors").click()
    first = page.get_by_label("Errors", exact=True).locator("li").first
    await expect(first).to_contain_text("no good")
    await first.get_by_role("button", name="line.bad").click()
    await expect(page.locator(".node.is-selected")).to_have_attribute("data-node", "bad")


async def test_flows_are_tabs_that_are_added_renamed_duplicated_and_deleted(page, runtime):
    await page.get_by_role("button", name="Add a flow").click()
    tabs = page.get_by_role("tablist", name="Flows").get_by_role("tab")
    await tabs.last.dblclick()
    await page.get_by_label("Name of the flow").fill("Second")
    await page.keyboard.press("Enter")
    await page.mouse.dblclick(500, 300)
    await page.get_by_label("Node type").fill("core/inject")
    await page.keyboard.press("Enter")
    await deploy(page)
    assert (await document(runtime, "new-flow"))["name"] == "Second"
    await tabs.last.click(button="right")
    await page.get_by_role("menuitem", name="Duplicate").click()
    await expect(tabs.last).to_contain_text("Second copy")
    for _ in range(2):  # the copy, which was never deployed, and the flow
        await tabs.last.click(button="right")
        await page.get_by_role("menuitem", name="Delete").click()
    await expect(tabs).to_have_count(1)
    await page.get_by_role("button", name="Deploy", exact=True).click()
    await expect(page.locator(".toasts li").last).to_contain_text("removed")


async def test_copy_and_paste_select_all_and_arrow_keys(page):
    await node(page, "hot").click()
    await page.keyboard.press("Control+c")
    await page.keyboard.press("Control+v")
    await expect(node(page, "hot-2")).to_be_visible()
    before = await middle(node(page, "hot-2"))
    await page.keyboard.press("ArrowDown")
    await expect(node(page, "hot-2")).to_be_visible()
    assert (await middle(node(page, "hot-2")))[1] > before[1]
    await page.keyboard.press("Control+a")
    await expect(page.locator(".node.is-selected")).to_have_count(5)
    await page.keyboard.press("Delete")
    await expect(page.locator(".node")).to_have_count(0)
    await page.keyboard.press("Control+z")
    await expect(page.locator(".node")).to_have_count(5)


async def test_search_command_palette_and_keys(page):
    await page.keyboard.press("Control+f")
    await page.get_by_label("Search for").fill("is:unused")
    await expect(page.get_by_role("option")).to_have_count(1)
    await page.keyboard.press("Enter")
    await expect(page.locator(".node.is-selected")).to_have_attribute("data-node", "text")
    await page.keyboard.press("Escape")
    await page.keyboard.press("Control+Shift+p")
    await page.get_by_label("Action", exact=True).fill("lay the flow")
    await page.keyboard.press("Enter")
    await expect(node(page, "text").get_by_label("changed")).to_have_count(0)
    await expect(page.get_by_role("button", name="Undo")).to_be_enabled()
    await page.keyboard.press("?")
    await expect(page.get_by_role("dialog", name="Keys")).to_contain_text("Ctrl+Z")


async def test_history_shows_what_changed_and_rolls_back(page, runtime):
    await node(page, "text").click()
    await page.keyboard.press("Delete")
    await deploy(page)
    await page.get_by_role("tab", name="History").click()
    revisions = page.get_by_label("Revisions").locator("li")
    await revisions.first.get_by_role("button", name="What changed").click()
    await expect(page.locator(".diff-list")).to_contain_text("node text")
    await page.get_by_role("dialog").get_by_role("button", name="Close").click()
    await revisions.nth(1).get_by_role("button", name="Roll back").click()
    await expect(node(page, "text")).to_be_visible()


async def test_two_browsers_see_each_other_and_a_stale_deploy_is_merged(page, open_editor, runtime):
    other = await open_editor()
    await expect(page.locator(".people")).to_contain_text("2 here")
    await node(other, "show").click()
    await expect(node(page, "show").locator(".person")).to_be_visible()
    await node(page, "text").click()
    await page.keyboard.press("Delete")
    await other.mouse.dblclick(500, 560)
    await other.get_by_label("Node type").fill("core/inject")
    await other.keyboard.press("Enter")
    await deploy(other)
    await expect(page.locator(".toasts")).to_contain_text("deployed elsewhere")
    await page.get_by_role("button", name="Deploy", exact=True).click()
    dialog = page.get_by_role("dialog", name="was deployed by somebody else")
    await expect(dialog.locator(".diff-list")).to_contain_text("node text")
    await dialog.get_by_role("button", name="Merge").click()
    await deployed(page)
    await expect(node(page, "inject")).to_be_visible()
    ids = {one["id"] for one in (await document(runtime))["nodes"]}
    assert "inject" in ids and "text" not in ids
    await expect(node(other, "text")).to_have_count(0)


async def test_themes_and_no_serious_fault_for_those_who_cannot_see(page):
    ground = "getComputedStyle(document.body).backgroundColor"
    light = await page.evaluate(ground)
    for _ in range(2):
        await page.keyboard.press("Control+Shift+p")
        await page.get_by_label("Action", exact=True).fill("theme")
        await page.keyboard.press("Enter")
    assert await page.evaluate(ground) != light
    await page.evaluate(AXE.read_text())
    found = await page.evaluate("axe.run({resultTypes: ['violations']})")
    serious = [one for one in found["violations"] if one["impact"] in ("serious", "critical")]
    assert not serious, [(one["id"], [part["html"][:120] for part in one["nodes"][:3]]) for one in serious]


async def test_leaving_with_changes_warns(page):
    asked = []

    async def stay(dialog):
        asked.append(dialog.type)
        await dialog.accept()

    page.on("dialog", stay)
    await node(page, "text").click()
    await page.keyboard.press("Delete")
    await page.reload()
    assert asked == ["beforeunload"]
