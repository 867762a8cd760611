"""The gateway as browsers and programs meet it: what it answers, whom it lets in, what it keeps out."""

import asyncio
import json
from pathlib import Path

import psutil
import pytest
from aiohttp import ClientSession, WSServerHandshakeError

EXPORTS = Path(__file__).parents[1] / "convert" / "exports"

pytestmark = pytest.mark.asyncio(loop_scope="module")


async def body(answer, status=200):
    """The JSON of an answer with this status."""
    assert answer.status == status, await answer.text()
    return await answer.json()


async def test_flows_are_read_changed_and_a_stale_write_is_refused_with_the_difference(runtime):
    async with runtime.program() as http:
        flow = await body(await http.get("/api/flows/ticks"))
        document, base = flow["document"], flow["revision"]
        document["nodes"][0]["config"]["payload"] = 22
        change = {"documents": [{"document": document}], "based_on": {"ticks": base}}
        done = await body(await http.post("/api/deploy", json=change))
        assert done["flows"][0]["revision"] == base + 1
        assert (await body(await http.get("/api/flows/ticks")))["document"]["nodes"][0]["config"]["payload"] == 22
        document["nodes"][0]["config"]["payload"] = 23
        error = (await body(await http.post("/api/deploy", json=change), 409))["error"]
        assert error["code"] == "stale" and "22" in error["details"]["difference"]["text"]
        document["nodes"][0]["type"] = "core/injekt"
        error = (await body(await http.post("/api/deploy", json={"documents": [{"document": document}]}), 422))["error"]
        assert "core/inject" in error["details"]["problems"][0]


async def test_nodes_are_steered_and_looked_at(runtime):
    async with runtime.program() as http:
        (before,) = (await body(await http.post("/api/flows/ticks/nodes/show/kill", json={})))["pids"]
        await comes_true(lambda node: node["pid"] not in (before, None) and node["state"] == "running", show, http)
        assert (await body(await http.get("/api/flows/ticks/nodes/tick/last")))["message"]["payload"] in (21, 22)
        assert (await body(await http.get("/api/types/core/inject")))["types"][0]["type"] == "core/inject"
        assert (await body(await http.get("/api/flows/ticks/nodes/nobody/last"), 404))["error"][
            "code"
        ] == "unknown_node"


async def test_an_export_of_node_red_is_turned_and_what_is_none_is_refused(runtime):
    async with runtime.program() as http:
        export = (EXPORTS / "other-packages.json").read_text()
        said = await body(await http.post("/api/import/nodered", json={"export": export, "name": "old"}))
        assert said["flows"][0]["flowcore"] == 1
        assert {one["kind"] for one in said["findings"]} >= {"not turned"}
        for bad in ("{", "[]", "[" * 100_000, '{"flowcore": 1}'):
            error = (await body(await http.post("/api/import/nodered", json={"export": bad}), 422))["error"]
            assert "no Node-RED export" in error["message"] and error["do"]
        await body(await http.post("/api/import/nodered", json={"export": []}), 400)
        assert len((await body(await http.get("/api/flows")))["flows"]) == 1, "nothing was deployed"


async def comes_true(condition, look, *args):
    """Look until what is seen is right; there is no event for it at this door."""
    async with asyncio.timeout(30):
        while True:
            seen = await look(*args)
            if seen is not None and condition(seen):
                return seen
            await asyncio.sleep(0.1)


async def show(http):
    """How the node `show` is."""
    flows = (await body(await http.get("/api/status")))["flows"]
    return next(node for node in flows[0]["nodes"] if node["node"] == "show")


async def test_secrets_are_set_and_only_their_names_come_back(runtime):
    async with runtime.program() as http:
        await body(await http.put("/api/secrets/plant", json={"value": "hush"}))
        answer = await http.get("/api/secrets")
        assert "hush" not in await answer.text() and (await answer.json())["names"] == ["plant"]
        assert (await http.put("/api/secrets/a%20b", json={"value": "x"})).status == 404
        await body(await http.delete("/api/secrets/plant"))


async def test_what_nodes_share_is_seen_set_and_deleted(runtime):
    async with runtime.program() as http:
        await body(await http.put("/api/context", json={"flow": "ticks", "key": "a/b", "value": {"top": 8}}))
        assert (await body(await http.get("/api/flows/ticks/context")))["values"] == {"a/b": {"top": 8}}
        assert (await body(await http.get("/api/context")))["values"] == {}
        await body(await http.delete("/api/context", json={"flow": "ticks", "key": "a/b"}))
        await body(await http.delete("/api/context", json={"flow": "ticks", "key": "a/b"}), 404)
        await body(await http.get("/api/flows/nobody/context"), 404)


async def test_the_document_of_the_api_names_every_address(runtime):
    async with runtime.program() as http:
        paths = (await body(await http.get("/api/openapi.json")))["paths"]
        assert {"get", "delete"} == set(paths["/api/flows/{flow}"])
        assert "based_on" in json.dumps(paths["/api/deploy"])


async def test_metrics_have_nodes_and_wires_and_take_a_token_of_their_own(runtime):
    scraper = runtime.browser(Authorization=f"Bearer {runtime.sessions.token('metrics', 60)}")
    async with scraper as http:
        wire = 'flowcore_wire_taken_total{delivery="reliable",flow="ticks"'
        text = await comes_true(lambda text: wire in text, scrape, http)
        assert 'flowcore_node_handled_total{flow="ticks",node="show",process="show",type="core/debug"}' in text
        assert (await http.get("/api/flows")).status == 401


async def scrape(http):
    """The text of /metrics."""
    return await (await http.get("/metrics")).text()


async def test_a_start_url_lets_in_once_opened_and_without_it_nothing_is_shown(runtime):
    async with runtime.browser() as http:
        assert (await http.get("/api/flows")).status == 401
        assert str((await http.get("/")).url).endswith("/login")
        opened = await http.get(runtime.start_url)
        assert opened.status == 200 and "token" not in str(opened.url)
        assert "frame-ancestors 'none'" in opened.headers["Content-Security-Policy"]
        assert (await http.get("/api/flows")).status == 200
        (cookie,) = http.cookie_jar
        assert cookie["httponly"] and cookie["samesite"] == "Strict"
    async with runtime.browser() as http:
        late = runtime.sessions.token("start", -1)
        assert str((await http.get(f"/?token={late}")).url).endswith("/login")
        forged = runtime.start_url[:-4] + "AAAA"
        assert str((await http.get(forged)).url).endswith("/login")


async def test_the_password_is_asked_for_and_tries_are_counted(runtime):
    runtime.sessions.set_password("horse battery")
    origin = {"Origin": runtime.url}
    async with runtime.browser(**origin) as http:
        assert (await body(await http.get("/api/login")))["has_password"]
        assert (await http.post("/api/login", json={"password": "horse battery"})).status == 200
        assert (await http.get("/api/flows")).status == 200
        for _ in range(5):
            assert (await http.post("/api/login", json={"password": "guess"})).status == 401
        error = (await body(await http.post("/api/login", json={"password": "horse battery"}), 429))["error"]
        assert error["details"]["wait_s"] > 0
    runtime.sessions.set_password("another one")
    async with runtime.browser() as http:
        await http.get(runtime.start_url)
        assert (await http.get("/api/flows")).status == 401, "a new password ends what was begun before"


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"Origin": "http://evil.example"}, 403),
        ({"Host": "evil.example"}, 421),
        ({"Origin": "null"}, 403),
    ],
)
async def test_foreign_pages_and_names_are_kept_out(runtime, headers, status):
    async with runtime.program() as http:
        assert (await http.get("/api/flows", headers=headers)).status == status
        assert (await http.post("/api/flows/ticks/stop", json={}, headers=headers)).status == status
        with pytest.raises(WSServerHandshakeError) as refused:
            await http.ws_connect("/api/live", headers=headers)
        assert refused.value.status == status


async def test_a_write_needs_an_origin_a_json_body_and_a_sound_path(runtime):
    cookie = f"flowcore_{runtime.url.rpartition(':')[2]}={runtime.sessions.token('session', 60)}"
    async with runtime.browser(Cookie=cookie) as http:
        assert (await http.get("/api/flows")).status == 200
        assert (await http.post("/api/flows/ticks/pause", json={})).status == 403, "no Origin"
        own = {"Origin": runtime.url}
        text = await http.post("/api/flows/ticks/pause", data="{}", headers={**own, "Content-Type": "text/plain"})
        assert text.status == 415
        for path in (
            "/api/flows/a%2f..%2fb",
            "/api/flows/Ticks",
            "/assets/..%2fapp.py",
            "/api/flows/ticks/nodes/a.b/last",
        ):
            assert (await http.get(path)).status == 404, path
        for wrong in ("[1]", "{", '{"a": ' + "[" * 100_000):
            answer = await http.post("/api/validate", data=wrong, headers={**own, "Content-Type": "application/json"})
            assert (await body(answer, 400))["error"]["do"]
        large = await http.post("/api/validate", json={"document": "x" * (9 << 20)}, headers=own)
        assert large.status == 413


async def live(http, **said):
    """A WebSocket that watches, and what comes of one kind."""
    socket = await http.ws_connect("/api/live", headers={"Origin": str(http._base_url).rstrip("/")})
    await socket.send_json({"watch": ["ticks"], **said})
    return socket


async def until(socket, found, timeout=20):
    """Read frames up to the one in which something was found."""
    async with asyncio.timeout(timeout):
        while True:
            frame = json.loads((await socket.receive()).data)
            if (what := found(frame)) is not None:
                return what


async def test_a_browser_sees_states_statistics_debug_messages_and_deploys(runtime):
    async with runtime.program() as http, runtime.program() as other:
        socket = await live(http, person={"name": "Ada", "flow": "ticks"})
        state = await until(socket, lambda frame: frame.get("states", {}).get("ticks/show"))
        assert state["state"] == "running"

        def state_of(frame):
            seen = frame.get("states", {}).get("ticks/show", state)
            return seen["state"], seen["pid"] != state["pid"]

        message = await until(socket, lambda frame: (frame.get("debug") or [None])[0])
        assert message["node"] == "show" and message["flow"] == "ticks"
        stats = await until(socket, lambda frame: frame.get("stats", {}).get("ticks/show"))
        assert stats["inputs"][0]["taken"] > 0
        second = await live(other, person={"name": "Bob"})
        names = await until(socket, lambda frame: len(frame.get("people", ())) == 2 and frame["people"])
        assert {person["name"] for person in names} == {"Ada", "Bob"}
        await body(await other.post("/api/flows/ticks/nodes/show/restart", json={}))
        await until(socket, lambda frame: state_of(frame) == ("running", True) or None)
        flow = await body(await other.get("/api/flows/ticks"))
        flow["document"]["name"] = "Ticks"
        done = await body(await other.post("/api/deploy", json={"documents": [{"document": flow["document"]}]}))
        seen = await until(
            socket,
            lambda frame: next((one for one in frame.get("events", ()) if one["kind"] == "applied"), None),
        )
        assert seen["revision"] == done["flows"][0]["revision"]
        await second.close()
        await until(socket, lambda frame: len(frame.get("people", ())) == 1 or None)
        await socket.close()


async def test_a_browser_that_reads_nothing_slows_nobody_and_debug_messages_are_thinned_out(runtime):
    flood = {
        "flowcore": 1,
        "id": "flood",
        "nodes": [
            {"id": "tick", "type": "core/inject", "config": {"payload": "x" * 500, "every_s": 0.002}},
            {"id": "show", "type": "core/debug", "config": {"max_rate_hz": 5000}},
        ],
        "wires": [{"from": "tick.out", "to": "show.in"}],
    }
    async with runtime.program() as http, ClientSession() as deaf:
        await body(await http.post("/api/deploy", json={"documents": [{"document": flood}]}))
        silent = await deaf.ws_connect(f"{runtime.url}/api/live", headers=dict(http.headers))
        await silent.send_json({"watch": None})  # and never reads
        socket = await live(http)
        await socket.send_json({"watch": ["flood"]})
        left_out = await until(socket, lambda frame: frame.get("left_out", {}).get("flood"))
        assert left_out > 0
        shown = await until(socket, lambda frame: frame.get("debug"))
        assert len(shown) <= 100
        await body(await http.delete("/api/flows/flood"))
        await silent.close()
        await socket.close()


async def health(http):
    """The status of /healthz; None while nobody listens."""
    try:
        return (await http.get("/healthz")).status
    except OSError:
        return None


async def test_a_killed_gateway_comes_back_and_no_flow_notices(runtime):
    """It is a process beside the host: sessions go on, and so do the nodes."""
    async with runtime.program() as http:
        before = (await show(http))["pid"]
        (child,) = [
            one for one in psutil.Process(runtime.process.pid).children() if "flowcore.gateway" in one.cmdline()
        ]
        child.kill()
        assert await comes_true(lambda status: status == 200, health, http)
        assert (await show(http))["pid"] == before
