"""The panels of the editor, in a browser, before a running flow: tries, debug messages, shared data, help, numbers."""

import pytest

from tests.e2e.test_editor import deploy, document, node

expect = pytest.importorskip("playwright.async_api", reason="playwright is not installed: make install").expect

pytestmark = [pytest.mark.asyncio(loop_scope="module"), pytest.mark.xdist_group("e2e")]


async def panel(page, name):
    """Open a panel of the sidebar."""
    await page.get_by_role("tab", name=name, exact=True).click()
    return page.locator(".panel")


async def test_nodes_run_on_a_sample_apart_from_the_flow(page, runtime):
    """Also drawn ones that were never deployed; what was caught can be the sample."""
    await page.mouse.dblclick(560, 560)
    await page.get_by_label("Node type").fill("core/function")
    await page.keyboard.press("Enter")
    await page.evaluate("window.flowcoreOpenForm('function')")
    await page.locator(".cm-content").click()
    await page.keyboard.press("Control+a")
    await page.keyboard.type("msg.payload = {'twice': msg.payload['t'] * 2}\nreturn msg")
    await page.keyboard.press("Control+Enter")
    before = await document(runtime)
    await node(page, "function").click()
    await page.keyboard.press("Alt+t")
    await page.get_by_label("Payload", exact=True).fill('{"t": ')
    await expect(page.locator(".field-error")).to_contain_text("not JSON")
    await page.get_by_label("Payload", exact=True).fill('{"t": 21}')
    await page.get_by_role("button", name="Run", exact=True).click()
    came = page.get_by_label("What came of it")
    await expect(came).to_contain_text("Done", timeout=60_000)
    await expect(came.locator(".messages li")).to_contain_text("twice")
    await expect(came.locator(".took").first).to_contain_text("ms")
    await page.get_by_label("Payload", exact=True).fill("5")
    await page.keyboard.press("Control+Enter")
    await expect(came).to_contain_text("Traceback")
    await node(page, "hot").click()
    caught = page.get_by_label("Take a message that was caught")
    await expect(caught.locator("option", has_text="show")).not_to_have_count(0)
    await caught.select_option(index=2)
    await expect(page.get_by_label("Payload", exact=True)).to_have_value('{\n  "t": 21\n}')
    await page.get_by_role("button", name="Run", exact=True).click()
    await expect(came).to_contain_text("out1 sent")
    assert await document(runtime) == before


async def test_debug_nodes_are_switched_live_and_messages_found_filtered_and_copied(page, runtime):
    await page.context.grant_permissions(["clipboard-read", "clipboard-write"])
    debug = await panel(page, "Debug")
    messages = page.get_by_label("Debug messages").locator("li")
    await messages.first.get_by_label("Open payload", exact=True).click()
    row = messages.locator(".tree-parts .tree-row").first
    await row.hover()
    await row.get_by_role("button", name="path").click()
    assert await page.evaluate("navigator.clipboard.readText()") == "payload.t"
    await row.get_by_role("button", name="copy").click()
    assert await page.evaluate("navigator.clipboard.readText()") == "21"
    await page.get_by_label("Show messages of", exact=True).select_option("line.show")
    await messages.first.get_by_role("button", name="line.show").click()
    await expect(page.locator(".node.is-selected")).to_have_attribute("data-node", "show")
    await node(page, "text").click()
    await page.get_by_label("Show messages of", exact=True).select_option("node")
    await expect(debug).to_contain_text("Nothing of what came fits")
    await page.get_by_label("Show messages of", exact=True).select_option("all")
    pid = await _pid(runtime, "show")
    await node(page, "show").get_by_role("switch").click()
    await expect(node(page, "show").get_by_role("switch")).to_have_attribute("aria-checked", "false")
    await expect(page.get_by_role("button", name="Deploy", exact=True)).to_be_disabled()
    assert (await document(runtime))["nodes"][2]["config"] == {"active": False}
    await page.get_by_role("button", name="Clear").click()
    await page.wait_for_timeout(500)  # five ticks that are not shown
    await expect(messages).to_have_count(0)
    await debug.locator("summary").click()
    await debug.get_by_label("show", exact=True).click()
    await expect(messages.first).to_be_visible()
    assert await _pid(runtime, "show") == pid
    assert "config" not in (await document(runtime))["nodes"][2]


async def _pid(runtime, name):
    async with runtime.program() as http:
        flows = (await (await http.get("/api/flows/line/status")).json())["flows"]
    return next(one["pid"] for one in flows[0]["nodes"] if one["node"] == name)


async def test_tensors_and_pictures_are_shown_small(page, runtime):
    """A source of frames, from a package of its own."""
    frames = {"id": "shots", "type": "pics/source", "ui": {"x": 60, "y": 400}}
    show = {"id": "look", "type": "core/debug", "ui": {"x": 320, "y": 400}}
    flow = await document(runtime)
    flow["nodes"] += [frames, show]
    flow["wires"].append({"from": "shots.out", "to": "look.in", "delivery": "latest"})
    async with runtime.program() as http:
        said = await http.post("/api/deploy", json={"documents": [{"document": flow}]})
        assert said.status == 200, await said.text()
    debug = await panel(page, "Debug")
    await page.get_by_label("Show messages of", exact=True).select_option("line.look")
    picture = debug.locator("li", has_text="uint8 [120, 160, 3], 0 to 255").locator("img.picture")
    await expect(picture.first).to_be_visible()
    assert await picture.first.evaluate("one => one.naturalWidth") > 50
    await expect(debug.locator("li", has_text="float64 [500]").locator(".sparkline").first).to_be_visible()
    await expect(debug.locator("li", has_text="png").locator("img.picture").first).to_be_visible()


async def test_what_nodes_share_is_seen_and_deleted_and_secrets_are_never_shown(page, runtime):
    async with runtime.program() as http:
        await (await http.put("/api/context", json={"flow": "line", "key": "limits", "value": {"top": 80}})).read()
    data = await panel(page, "Data")
    flow = page.get_by_role("region", name="Flow Line")
    await flow.get_by_label("Open limits").click()
    await expect(flow).to_contain_text("top:80")
    await flow.get_by_label("Delete limits").click()
    await flow.get_by_role("button", name="Keep").click()
    await flow.get_by_label("Delete limits").click()
    await flow.get_by_role("button", name="Delete", exact=True).click()
    await expect(flow).to_contain_text("Its nodes share nothing")
    await node(page, "hot").click()
    await expect(page.get_by_role("region", name="Node Hot?")).to_contain_text("It keeps nothing")
    await page.get_by_label("What is shown").select_option("secrets")
    await page.get_by_label("Name of a secret").fill("plant")
    await page.get_by_label("Its value").fill("hush-hush")
    await page.keyboard.press("Enter")
    await expect(page.get_by_label("Secrets", exact=True)).to_contain_text("plant unused")
    assert "hush" not in await data.inner_text()
    await page.get_by_label("Delete plant").click()
    await page.get_by_role("button", name="Delete", exact=True).click()
    await expect(page.get_by_label("Secrets", exact=True).locator("li")).to_have_count(0)
    await page.get_by_label("What is shown").select_option("env")
    await page.get_by_label("Name of a new value").fill("LIMIT")
    await page.get_by_label("New value", exact=True).fill("80")
    await page.keyboard.press("Enter")
    await expect(page.get_by_label("LIMIT", exact=True)).to_have_value("80")
    await page.get_by_label("LIMIT", exact=True).fill("{")
    await expect(data.locator(".field-error")).to_contain_text("not JSON")
    await page.get_by_label("LIMIT", exact=True).fill("90")
    await page.keyboard.press("Enter")
    await deploy(page)
    assert (await document(runtime))["env"] == {"LIMIT": 90}
