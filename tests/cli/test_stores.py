"""`secret`, `access`, `state`, `logs`, `errors`, `retry`: what the data folder keeps."""

import asyncio
import json

from flowcore.client import connect


async def test_a_secret_is_set_from_standard_input_and_never_shown(flowcore):
    """Works without a runtime; the value is in no output and in no file."""
    await flowcore("secret", "set", "PLC_PASSWORD", stdin="s3cret-value\n")
    assert (await flowcore("secret", "list", "--json")).json == {"names": ["PLC_PASSWORD"]}
    changed = await flowcore("secret", "set", "PLC_PASSWORD", stdin="s3cret-two")
    assert "changed" in changed.out and "restart" in changed.out
    for file in flowcore.data.iterdir():
        assert b"s3cret" not in file.read_bytes() and file.stat().st_mode & 0o077 == 0
    await flowcore("secret", "remove", "PLC_PASSWORD")
    assert "no secret" in (await flowcore("secret", "remove", "PLC_PASSWORD", status=1)).err
    assert "empty" in (await flowcore("secret", "set", "X", stdin="", status=2)).err
    assert "letter" in (await flowcore("secret", "set", "1 2", stdin="x", status=2)).err


async def test_an_outsider_comes_in_at_once_and_is_cut_off_at_once(flowcore, demo):
    """What `access add` prints is enough to connect; removed, it is not."""
    await flowcore("deploy", flowcore.write(demo))
    added = (await flowcore("access", "add", "scada", "--subscribe", "flow.demo.>", "--json")).json
    assert added["in_force"] and added["url"].startswith("nats://")
    async with connect(added["url"], added["user"], added["password"]) as outsider:
        async with outsider.subscribe("flow.demo.band.out.>") as messages:
            await flowcore("inject", "demo.band", "20")
            assert (await messages.next(10)).payload == 20
        listed = (await flowcore("access", "list", "--json")).json["users"]
        assert listed == [{"name": "scada", "mqtt": False, "subscribe": ["flow.demo.>"], "publish": [], "host": False}]
        assert added["password"] not in json.dumps(listed)
        await flowcore("access", "remove", "scada")
        async with asyncio.timeout(10):
            while True:
                if not outsider._bus.is_up:
                    break
                await asyncio.sleep(0.02)
    assert "no user" in (await flowcore("access", "remove", "scada", status=1)).err


async def test_access_without_a_runtime_is_for_the_next_one(flowcore):
    """So that `up --listen` can be started with users."""
    added = await flowcore("access", "add", "line-1", "--publish", "sensors/+/env", "--mqtt")
    assert "password" in added.out and "when the runtime starts" in added.out
    assert "line-1" in (await flowcore("access", "list")).out
    assert "letters, digits" in (await flowcore("access", "add", "b d", "--subscribe", "x", status=1)).err


async def test_errors_and_retry_by_command(flowcore, demo):
    """What was given up is listed; after the fix it goes through."""
    demo["nodes"], demo["wires"] = [{"id": "parse", "type": "core/json"}], []
    await flowcore("deploy", flowcore.write(demo))
    assert "no message was given up" in (await flowcore("errors")).out
    await flowcore("inject", "demo.parse", '"{broken"')
    async with asyncio.timeout(20):
        while not (found := (await flowcore("errors", "--json")).json)["total"]:
            pass
    assert "demo.parse" in (await flowcore("errors")).out
    assert "Traceback" in (await flowcore("errors", "demo.parse", "-v")).out
    demo["nodes"][0]["type"] = "core/debug"
    await flowcore("deploy", flowcore.write(demo))
    assert "1 message given" in (await flowcore("retry", "--of", "demo")).out
    assert (await flowcore("errors", "--json")).json["total"] == 0
    assert "no given-up message" in (await flowcore("retry", found["errors"][0]["id"], status=1)).err


async def test_context_by_command(flowcore, demo):
    """Of a flow and of all flows, apart; any text is a key; what changed it is in the log."""
    await flowcore("deploy", flowcore.write(demo))
    await flowcore("context", "put", "limits/a.b = %", '{"top": 80}', "--flow", "demo")
    await flowcore("context", "put", "shift", '"late"')
    assert (await flowcore("context", "get", "--flow", "demo")).json == {"limits/a.b = %": {"top": 80}}
    assert (await flowcore("context", "get", "--json")).json["values"] == {"shift": "late"}
    await flowcore("context", "delete", "shift")
    assert "nothing is shared" in (await flowcore("context", "delete", "shift", status=1)).err
    assert "context set" in (await flowcore("logs")).out


async def test_state_by_command(flowcore, demo):
    """get, put and delete; the node goes on from what was put."""
    await flowcore("deploy", flowcore.write(demo))
    await flowcore("state", "put", "demo.band", "mine", '{"a": 1}')
    assert (await flowcore("state", "get", "demo.band")).json == {"mine": {"a": 1}}
    assert (await flowcore("state", "get", "demo.band", "mine", "--json")).json["values"] == {"mine": {"a": 1}}
    await flowcore("state", "delete", "demo.band", "mine")
    assert (await flowcore("state", "get", "demo.band")).json == {}
    assert "or --all" in (await flowcore("state", "delete", "demo.band", status=2)).err


async def test_logs_work_without_a_runtime_and_follow_it(flowcore, demo):
    """Newest entries by flow and level; `-f` shows what comes."""
    assert "no log in" in (await flowcore("logs", status=1)).err
    await flowcore("deploy", flowcore.write(demo))
    follow = await flowcore.start("logs", "-f", "-n", "0", "--json", "demo")
    await asyncio.sleep(0)
    line = b""
    async with asyncio.timeout(20):
        while not line:  # the follower may not be there at the first kill
            await flowcore("kill", "demo.band")
            try:
                line = await asyncio.wait_for(follow.stdout.readline(), 1)
            except TimeoutError:
                continue
    assert json.loads(line)["flow"] == "demo"
    await flowcore("down")
    shown = (await flowcore("logs", "demo", "--level", "warning")).out
    assert "warning demo.band" in shown and "info" not in shown
    assert (await flowcore("logs", "--since", "0s")).out == ""
