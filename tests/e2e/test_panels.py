"""The panels of the editor, in a browser, before a running flow: tries, debug messages, shared data, help, numbers."""

import pytest

from tests.e2e.hands import choose, deploy, document, expect, node, take_in

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
    await choose(page, "text")
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


async def add(page, type_, at):
    """A node, by quick-add; returns its form."""
    await page.mouse.dblclick(*at)
    await page.get_by_label("Node type").fill(type_)
    await page.keyboard.press("Enter")
    name = type_.partition("/")[2]
    await expect(node(page, name).first).to_be_visible()
    await page.evaluate("id => window.flowcoreOpenForm(id)", name)
    return page.get_by_role("dialog", name=f"Edit {name}", exact=True)


async def test_settings_are_shared_and_what_is_wrong_in_a_form_is_shown_where_it_is(page, runtime):
    form = await add(page, "iot/mqtt-in", (480, 560))
    await expect(node(page, "mqtt-in").get_by_label("invalid")).to_be_visible()  # as drawn: its topic is missing
    await form.get_by_label("Url").fill("mqtt://127.0.0.1:1")
    await form.get_by_role("button", name="share these settings").click()
    await form.get_by_label("Name of the shared settings").fill("plant")
    await page.keyboard.press("Enter")
    await expect(form.get_by_label("Broker: whose settings")).to_have_value("plant")
    await form.get_by_role("button", name="Edit", exact=True).click()
    await form.get_by_label("Url").fill("mqtt://127.0.0.1:2")
    await form.get_by_role("button", name="Change for").click()
    await expect(form).to_contain_text("mqtt://127.0.0.1:2")
    await form.get_by_label("Topic").fill("{")
    await page.keyboard.press("Control+Enter")
    await expect(page.locator(".toasts li").last).to_contain_text("not JSON")
    await form.get_by_label("Topic").fill('"a/+"')
    await form.get_by_role("tab", name="Policies").click()
    await form.get_by_label("Replicas").fill("0")
    await expect(form.get_by_role("tab", name="Policies").locator(".count")).to_have_text("1")
    await form.get_by_role("tab", name="Description").click()
    await page.keyboard.press("Control+Enter")
    await expect(form.get_by_label("Replicas")).to_be_visible()  # not saved: back to where it is wrong
    await form.get_by_label("Replicas").fill("1")
    await form.get_by_role("tab", name="Description").click()
    await form.get_by_label("Description").fill(
        "**bold** <img src=x onerror=reported(1)>\n\n[go](javascript:reported(2))"
    )
    await form.get_by_role("button", name="Preview").click()
    await expect(form.locator(".markdown strong")).to_have_text("bold")
    await expect(form.locator(".markdown img")).to_have_count(0)
    assert not await form.locator(".markdown a").get_attribute("href")
    await page.keyboard.press("Control+Enter")
    await expect(form).to_have_count(0)
    await deploy(page)
    flow = await document(runtime)
    made = next(one for one in flow["nodes"] if one["id"] == "mqtt-in")
    assert made["config"] == {"broker": {"$use": "plant"}, "topic": "a/+"}
    assert flow["resources"]["plant"]["config"] == {"url": "mqtt://127.0.0.1:2"}
    await panel(page, "Data")
    await page.get_by_label("What is shown").select_option("shared")
    shared = page.get_by_label("Shared settings", exact=True)
    await shared.get_by_role("button", name="mqtt-in").click()
    await page.keyboard.press("Delete")
    await expect(shared).to_contain_text("unused")


async def test_a_value_comes_from_where_one_says(page, runtime):
    await node(page, "hot").dblclick()
    form = page.get_by_role("dialog", name="Edit Hot?", exact=True)
    await form.get_by_label("Value: kind").first.select_option("number")
    await form.locator("#root_rules_0_value").fill("-")
    await expect(form).to_contain_text("must be a number")
    await form.locator("#root_rules_0_value").fill("-1.5")
    await form.get_by_label("Value2: kind").first.select_option("$flow")
    await page.keyboard.press("Control+Enter")
    await expect(page.locator(".toasts li").last).to_contain_text("say which")
    await form.locator("#root_rules_0_value2").fill("limits.top")
    await page.keyboard.press("Control+Enter")
    await deploy(page)
    rule = next(one for one in (await document(runtime))["nodes"] if one["id"] == "hot")["config"]["rules"][0]
    assert (rule["value"], rule["value2"]) == (-1.5, {"$flow": "limits.top"})


async def test_help_has_an_example_and_a_node_its_numbers_and_charts(page):
    info = await panel(page, "Info")
    await node(page, "hot").click()
    await expect(info.locator(".charts canvas")).to_have_count(2)
    await expect(info.locator("dl").first).to_contain_text("Sent to done, 99 %")
    about = info.get_by_label("About Switch")
    await expect(about).to_contain_text("rules")
    await about.get_by_role("button", name="Open").first.click()
    await expect(page.get_by_role("tablist", name="Flows").get_by_role("tab")).to_have_count(2)
    await expect(page.locator(".node").nth(3)).to_be_visible()


async def test_a_wire_shows_its_last_message_and_an_error_the_one_that_caused_it(page, runtime):
    await page.locator('[data-wire="tick.out>hot.in"]').hover()
    await expect(page.locator('[data-wire="tick.out>hot.in"]')).to_contain_text("21")
    flow = await document(runtime)
    script = {"script": "raise ValueError('no good')"}
    flow["nodes"].append({"id": "bad", "type": "core/function", "config": script, "ui": {"x": 580, "y": 200}})
    flow["wires"].append({"from": "tick.out", "to": "bad.in", "delivery": "latest"})
    async with runtime.program() as http:
        await (await http.post("/api/deploy", json={"documents": [{"document": flow}]})).read()
    await page.get_by_role("tab", name="Errors").click()
    first = page.get_by_label("Errors", exact=True).locator("li").last  # it stays where it is
    await first.get_by_label("Open msg", exact=True).click()
    await expect(first).to_contain_text("payload:map {t}")
    await first.locator("summary").click()
    await expect(first.locator("pre")).to_contain_text("no good")
    await page.get_by_role("button", name="Clear").click()


async def test_a_node_that_failed_is_among_the_errors_until_it_runs(page, runtime):
    """Its badge tells why, and is taken back."""
    bad = {"id": "f", "type": "core/function", "config": {"script": "if x\n  y"}, "ui": {"x": 60, "y": 60}}
    await take_in(page, id="wrong", nodes=[bad])
    await page.get_by_role("button", name="Deploy", exact=True).click()
    await page.get_by_role("tab", name="Errors").click()
    await expect(page.get_by_label("Failed nodes")).to_contain_text("line 1: SyntaxError")
    await expect(node(page, "f")).to_contain_text("failed: ")
    async with runtime.program() as http:
        document = {"flowcore": 1, "id": "wrong", "nodes": [{**bad, "config": {"script": "return msg"}}]}
        await (await http.post("/api/deploy", json={"documents": [{"document": document}]})).read()
    await expect(page.get_by_label("Failed nodes").locator("li")).to_have_count(0)
    await expect(node(page, "f").locator(".node-under")).to_have_text("")
