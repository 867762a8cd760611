"""How flows are put together in the editor: groups, subflows, junctions and links, tabs."""

import pytest

from tests.e2e.hands import command, deploy, document, drag, expect, middle, node, port, wire

pytestmark = [pytest.mark.asyncio(loop_scope="module"), pytest.mark.xdist_group("e2e")]


async def select(page, *names):
    """One after the other, with Shift."""
    for k, name in enumerate(names):
        await node(page, name).click(modifiers=["Shift"] if k else [])


def groups_of(flow):
    """Who stands in which group."""
    return {one["id"]: one.get("group") for one in flow["nodes"]}


async def test_a_group_is_made_coloured_moved_left_joined_and_taken_apart(page, runtime):
    await select(page, "hot", "text")
    await page.keyboard.press("Control+g")
    frame = page.locator(".group")
    await expect(frame).to_have_class("group is-grey is-selected")
    await page.keyboard.press("Enter")
    await page.get_by_label("Label").fill("Heat")
    await page.get_by_label("green").check()
    await page.keyboard.press("Control+Enter")
    await expect(frame).to_contain_text("Heat")

    box, before = await frame.bounding_box(), await middle(node(page, "text"))
    grip = (box["x"] + 80, box["y"] + 100)
    await drag(page, grip, (grip[0], grip[1] + 100))
    after = await middle(node(page, "text"))
    assert after[0] == before[0] and after[1] > before[1] + 50, "its nodes move with it"
    await drag(page, await middle(node(page, "show")), (grip[0], grip[1] + 100))
    x, y = await middle(node(page, "text"))
    await drag(page, (x, y), (x - 220, y))
    await deploy(page)
    flow = await document(runtime)
    assert groups_of(flow) == {"tick": None, "hot": "group", "show": "group", "text": None}
    assert (flow["groups"][0]["name"], flow["groups"][0]["ui"]["colour"]) == ("Heat", "green")

    await node(page, "hot").click()
    await page.keyboard.press("Control+Shift+g")
    await expect(frame).to_have_count(0)
    await page.keyboard.press("Control+z")
    await expect(frame).to_contain_text("Heat")


async def test_a_group_that_is_off_runs_none_of_its_nodes(page):
    await select(page, "hot", "show")
    await page.keyboard.press("Control+g")
    await page.locator(".group").click(button="right", position={"x": 20, "y": 10})
    await page.get_by_role("menuitem", name="Disable").click()
    assert "stopped hot, show" in await deploy(page)


async def test_a_subflow_is_made_of_a_selection_and_runs(page, runtime):
    await select(page, "hot", "text")
    await page.keyboard.press("Alt+s")
    form = page.get_by_role("dialog", name="Subflow")
    await form.get_by_label("Name", exact=True).fill("Judge")
    await page.keyboard.press("Control+Enter")
    await expect(node(page, "subflow")).to_contain_text("Judge")
    for key in ("tick.out>subflow.in", "subflow.out1>show.in"):
        await expect(wire(page, key)).to_have_count(1)
    said = await deploy(page)
    assert "started subflow:hot, subflow:text" in said
    assert (await document(runtime))["subflows"]["subflow"]["inputs"] == {"in": ["hot.in"]}

    await expect(node(page, "subflow").locator(".dot.is-running")).to_be_visible()
    for key in ("tick.out>subflow.in", "subflow.out1>show.in"):
        await expect(page.locator(f'[data-wire="{key}"]')).to_contain_text("/s")
    await node(page, "subflow").dblclick()
    crumbs = page.get_by_role("navigation", name="Open subflow")
    await expect(crumbs).to_contain_text("Line › Judge")
    await expect(node(page, "hot").locator(".dot.is-running")).to_be_visible()
    await page.get_by_role("button", name="+ output").click()
    await drag(page, await middle(port(page, "text.out")), await middle(port(page, "@out:out.in")))
    await drag(page, await middle(port(page, "@in:in.out")), await middle(port(page, "text.in")))
    await node(page, "@out:out").dblclick()
    await page.get_by_role("dialog", name="Output").get_by_label("Name").fill("json")
    await page.keyboard.press("Control+Enter")
    await crumbs.get_by_role("button", name="Line").click()
    await expect(port(page, "subflow.json")).to_be_visible()
    said = await deploy(page)
    assert "rewired tick" in said, said
    judge = (await document(runtime))["subflows"]["subflow"]
    assert (judge["inputs"]["in"], judge["outputs"]["json"]) == (["hot.in", "text.in"], ["text.out"])


STAGES = {
    "id": "line",
    "flowcore": 1,
    "nodes": [
        {"id": "tick", "type": "core/inject", "config": {"every_s": 0.2}, "ui": {"x": 60, "y": 100}},
        {"id": "one", "type": "subflow:stage", "ui": {"x": 300, "y": 60}},
        {"id": "two", "type": "subflow:stage", "ui": {"x": 300, "y": 160}},
        {"id": "show", "type": "core/debug", "ui": {"x": 560, "y": 100}},
    ],
    "wires": [
        {"from": "tick.out", "to": "one.in"},
        {"from": "tick.out", "to": "two.in"},
        {"from": "one.out", "to": "show.in"},
    ],
    "subflows": {
        "stage": {
            "name": "Stage",
            "inputs": {"in": ["pass.in"]},
            "outputs": {"out": ["pass.out"]},
            "nodes": [{"id": "pass", "type": "core/change", "ui": {"x": 260, "y": 80}}],
        }
    },
}


async def test_parameters_of_a_subflow_are_set_in_the_form_of_an_instance(page, runtime):
    async with runtime.program() as http:
        await (await http.post("/api/deploy", json={"documents": [{"document": STAGES}]})).read()
    await node(page, "one").wait_for()
    stage = page.locator('.palette-node[data-type="subflow:stage"]')
    await expect(stage).to_contain_text("2")
    await stage.get_by_role("button", name="Settings of Stage").click()
    form = page.get_by_role("dialog", name="Stage")
    for k, kind in enumerate(("number", "select", "bool")):
        await form.get_by_role("button", name="+ parameter").click()
        one = form.get_by_role("group").nth(k)
        await one.get_by_label("Kind").select_option(kind)
        await one.get_by_label("Name", exact=True).fill(kind.upper())
    await form.get_by_label("Smallest").fill("5")
    await expect(form).to_contain_text("the default is too small")
    await expect(form.get_by_role("button", name="Save")).to_be_disabled()
    await form.get_by_role("group", name="Parameter NUMBER").get_by_label("Default value").fill("7")
    choice = form.get_by_role("group", name="Parameter SELECT")
    await choice.get_by_label("Values").fill("a = Left\nb = Right")
    await choice.get_by_label("Default", exact=True).check()
    await page.keyboard.press("Control+Enter")
    await expect(form).to_have_count(0)

    await node(page, "two").dblclick()
    form = page.get_by_role("dialog", name="Edit two")
    await form.get_by_label("NUMBER").fill("3")
    await expect(form.locator(".error-detail, .text-danger").first).to_be_visible()
    await form.get_by_label("NUMBER").fill("9")
    await form.get_by_label("SELECT").select_option(label="Right")
    await page.keyboard.press("Control+Enter")
    await deploy(page)
    flow = await document(runtime)
    assert flow["nodes"][2]["config"] == {"NUMBER": 9, "SELECT": "b"}
    assert flow["subflows"]["stage"]["params"]["NUMBER"] == {"type": "number", "default": 7, "min": 5}


async def test_a_template_that_changes_restarts_its_instances_and_goes_only_when_unused(page, runtime):
    async with runtime.program() as http:
        await (await http.post("/api/deploy", json={"documents": [{"document": STAGES}]})).read()
    await node(page, "one").dblclick()
    await node(page, "pass").dblclick()
    await page.get_by_role("dialog", name="Edit pass").get_by_role("tab", name="Policies").click()
    await page.get_by_label("Concurrency").fill("2")
    await page.keyboard.press("Control+Enter")
    assert "restarted one:pass, two:pass" in await deploy(page)

    settings = page.get_by_role("button", name="Parameters and settings")
    await settings.click()
    await page.get_by_role("button", name="Delete (used 2 times)").click()
    await expect(page.locator(".toasts li.is-error").last).to_contain_text("used 2 times")
    await page.keyboard.press("Escape")
    await command(page, "back to the flow")
    await select(page, "one", "two")
    await page.keyboard.press("Delete")
    await page.get_by_role("button", name="Settings of Stage").click()
    await page.get_by_role("dialog", name="Stage").get_by_role("button", name="Delete").click()
    await expect(page.locator('.palette-node[data-type="subflow:stage"]')).to_have_count(0)
    await deploy(page)
    assert not (await document(runtime)).get("subflows")
