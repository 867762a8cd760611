"""Choosing and placing nodes, junctions and links, tabs, and the clipboard, with mouse and keyboard."""

from itertools import combinations

import pytest

from tests.e2e.hands import command, deploy, document, drag, expect, middle, node, take_in, wire

pytestmark = [pytest.mark.asyncio(loop_scope="module"), pytest.mark.xdist_group("e2e")]


async def boxes(page, *names):
    """Where nodes are."""
    return [await node(page, name).bounding_box() for name in names]


def at(x, y, name, type_="core/json", **config):
    """A node of a flow."""
    return {"id": name, "type": type_, "config": config, "ui": {"x": x, "y": y}}


async def test_a_lasso_chooses_and_what_is_chosen_comes_into_line(page):
    nodes = [at(60, 60, "a"), at(140, 180, "b"), at(300, 220, "c"), at(700, 60, "far")]
    await take_in(page, id="places", nodes=nodes)
    (a, c) = await boxes(page, "a", "c")
    await drag(page, (a["x"] - 20, a["y"] - 20), (c["x"] + 30, c["y"] + 10))
    await expect(page.locator(".node.is-selected")).to_have_count(3)

    await command(page, "distribute down")
    a, b, c = await boxes(page, "a", "b", "c")
    assert b["y"] - a["y"] == pytest.approx(c["y"] - b["y"], abs=2)
    await command(page, "align right")
    assert len({round(one["x"]) for one in await boxes(page, "a", "b", "c")}) == 1
    await page.keyboard.press("Control+z")
    await command(page, "align middle")
    assert len({round(one["y"]) for one in await boxes(page, "a", "b", "c")}) == 1
    await command(page, "distribute across")
    a, b, c = await boxes(page, "a", "b", "c")
    assert b["x"] - a["x"] == pytest.approx(c["x"] - b["x"], abs=2)

    await page.keyboard.press("ArrowRight")
    (one,) = await boxes(page, "b")
    await page.keyboard.press("Shift+ArrowRight")
    (ten,) = await boxes(page, "b")
    assert ten["x"] - one["x"] == pytest.approx(10 * (one["x"] - b["x"]), abs=2)
    assert (await boxes(page, "far"))[0]["y"] != ten["y"]


async def test_a_junction_is_put_into_a_wire_and_messages_go_through(page, runtime):
    await wire(page, "tick.out>hot.in").locator(".react-flow__edge-path").click(force=True)
    await page.keyboard.press("Alt+j")
    for key in ("tick.out>junction.in", "junction.out>hot.in"):
        await expect(wire(page, key)).to_have_count(1)
    x, y = await middle(wire(page, "hot.out1>show.in").locator(".react-flow__edge-path"))
    await page.mouse.click(x - 20, y, button="right")
    await page.get_by_role("menuitem", name="Insert a junction").click()
    await expect(wire(page, "junction-2.out>show.in")).to_have_count(1)
    assert "kept" in await deploy(page)
    assert len((await document(runtime))["wires"]) == 4


async def test_link_nodes_show_their_partners_also_in_other_flows(page):
    await take_in(page, id="other", name="Other", nodes=[at(60, 60, "far", "core/link-in")])
    nodes = [at(60, 60, "go", "core/link-out", links=["near", "other/far"]), at(60, 260, "near", "core/link-in")]
    await take_in(page, id="links", name="Links", nodes=nodes)
    await node(page, "near").click()
    await expect(page.locator('[data-link="near go"]')).to_have_count(1)
    await node(page, "go").click()
    await expect(page.locator(".link-lines path")).to_have_count(2)
    await page.get_by_role("button", name="Other: far").click()
    await expect(page.get_by_role("tab", name="Other")).to_have_attribute("aria-selected", "true")
    await expect(page.locator(".node.is-selected")).to_have_attribute("data-node", "far")


async def test_what_hangs_together_is_chosen_and_the_flow_laid_out(page):
    nodes = [at(0, 0, "a"), at(0, 20, "b"), at(0, 40, "c"), at(0, 60, "alone")]
    await take_in(page, id="chain", nodes=nodes, wires=[wired("a", "b"), wired("b", "c")])
    await command(page, "lay the flow out")
    await expect(page.get_by_role("button", name="Undo")).to_be_enabled()
    a, b, c = await boxes(page, "a", "b", "c")
    assert a["x"] < b["x"] < c["x"]
    await node(page, "b").click()
    await page.keyboard.press("Alt+a")
    await expect(page.locator(".node.is-selected")).to_have_count(3)


def wired(one, other):
    """A wire of json nodes."""
    return {"from": f"{one}.out", "to": f"{other}.in"}


async def test_tabs_are_put_in_order_by_mouse_and_by_command(page):
    for name in ("Second", "Third"):
        await take_in(page, id=name.lower(), name=name)
    tabs = page.get_by_role("tablist", name="Flows").get_by_role("tab")
    await expect(tabs).to_have_text(["Line", "Second", "Third"])
    await tabs.nth(2).drag_to(tabs.nth(0))
    await expect(tabs).to_have_text(["Third", "Line", "Second"])
    await command(page, "move the flow right")
    await expect(tabs).to_have_text(["Line", "Third", "Second"])
    await tabs.nth(2).click(button="right")
    await page.get_by_role("menuitem", name="Move left").click()
    await expect(tabs).to_have_text(["Line", "Second", "Third"])


async def test_nodes_are_cut_here_and_pasted_in_another_flow_and_another_window(page):
    await page.context.grant_permissions(["clipboard-read", "clipboard-write"])
    await node(page, "hot").click()
    await node(page, "show").click(modifiers=["Shift"])
    await page.keyboard.press("Control+x")
    await expect(node(page, "hot")).to_have_count(0)
    await take_in(page, id="second", name="Second")
    await page.keyboard.press("Control+v")
    await expect(wire(page, "hot.out1>show.in")).to_have_count(1)
    window = await page.context.new_page()
    await window.goto(page.url)
    await node(window, "hot").wait_for()
    await window.keyboard.press("Control+v")
    await expect(wire(window, "hot-2.out1>show-2.in")).to_have_count(1)


async def test_a_first_node_stays_where_it_is_dropped_and_a_copy_comes_to_the_mouse(page):
    await page.get_by_role("button", name="Add a flow").click()
    await expect(page.get_by_text("Drag a node here")).to_be_visible()
    await drag(page, await middle(page.locator('.palette-node[data-type="core/debug"]')), (400, 250))
    x, y = await middle(node(page, "debug"))
    assert abs(x - 400) < 60 and abs(y - 250) < 20
    await node(page, "debug").click()
    await page.keyboard.press("Control+c")
    await page.mouse.move(500, 450)
    await page.keyboard.press("Control+v")
    box = await node(page, "debug-2").bounding_box()
    assert abs(box["x"] - 500) <= 20 and abs(box["y"] - 450) <= 20


async def test_nodes_of_a_flow_written_by_hand_stand_apart(page):
    """It says nothing of places."""
    nodes = [{"id": one, "type": "core/debug"} for one in ("a", "b", "c")]
    await take_in(page, id="bare", nodes=nodes, wires=[{"from": "a.out", "to": "b.in"}])
    places = [await middle(node(page, one)) for one in ("a", "b", "c")]
    assert all(abs(x - u) > 160 or abs(y - v) > 34 for (x, y), (u, v) in combinations(places, 2))


async def test_a_node_that_is_there_is_dropped_into_a_wire_and_taken_out_again(page):
    x, y = await middle(wire(page, "tick.out>hot.in").locator(".react-flow__edge-path"))
    start = await middle(node(page, "text"))
    await page.mouse.move(*start)
    await page.mouse.down()
    await page.mouse.move(start[0] + 1, start[1] - 1)  # a drag begins where the mouse is when it first moves
    await page.mouse.move(x, y, steps=4)
    await expect(page.locator(".react-flow__edge.is-under")).to_have_attribute("data-id", "tick.out>hot.in")
    await page.mouse.up()
    for key in ("tick.out>text.in", "text.out>hot.in"):
        await expect(wire(page, key)).to_have_count(1)
    await expect(page.locator(".node.is-selected")).to_have_attribute("data-node", "text")
    await page.keyboard.press("Control+Delete")
    await expect(wire(page, "tick.out>hot.in")).to_have_count(1)
