"""`flowcore deploy` and its kin on a runtime that it started itself."""

import asyncio
import json


async def test_deploy_starts_a_runtime_and_says_what_changed(flowcore, demo):
    """From nothing to running; then only what changed is touched."""
    flowcore.write(demo)
    first = await flowcore("deploy", "demo.json")
    assert "demo: revision" in first.out and "started band, show" in first.out
    assert "in the background" in first.err and "flowcore down" in first.err
    before = {
        node["node"]: node["pid"] for node in (await flowcore("status", "demo", "--json")).json["flows"][0]["nodes"]
    }
    demo["nodes"][0]["config"] = {"band": 2.0}
    flowcore.write(demo)
    second = await flowcore("deploy", "demo.json", "--json")
    (done,) = second.json["flows"]
    assert done["reconfigured"] + done["restarted"] == ["band"] and "show" in done["kept"]
    after = {
        node["node"]: node["pid"] for node in (await flowcore("status", "demo", "--json")).json["flows"][0]["nodes"]
    }
    assert after["show"] == before["show"]
    history = await flowcore("history", "demo", "--json")
    assert [each["revision"] for each in history.json["revisions"]] == [done["revision"], done["revision"] - 1]


async def test_what_someone_else_deployed_is_not_overwritten(flowcore, demo):
    """A file knows the revision it was last deployed as; --force overrides."""
    mine = flowcore.write(demo)
    await flowcore("deploy", mine)
    demo["nodes"][0]["config"] = {"band": 2.0}
    await flowcore("deploy", flowcore.write(demo, "theirs.json"))
    demo["nodes"][0]["config"] = {"band": 3.0}
    flowcore.write(demo)
    refused = await flowcore("deploy", mine, status=1)
    assert "was based on" in refused.err and '"band": 2.0' in refused.err and "--force" in refused.err
    as_json = await flowcore("deploy", mine, "--json", status=1)
    assert as_json.json["error"]["code"] == "stale" and as_json.json["error"]["difference"]["text"]
    await flowcore("deploy", mine, "--force")
    shown = await flowcore("diff", "demo")
    assert '"band": 3.0' in shown.out and "band" in shown.out
    back = await flowcore("rollback", "demo")
    assert "demo: revision" in back.out and "was)" in back.out


async def test_a_broken_file_changes_nothing(flowcore, demo):
    """Errors with file and line, status 1, and what ran goes on."""
    path = flowcore.write(demo)
    await flowcore("deploy", path)
    path.write_text(json.dumps(demo, indent=1).replace('"to": "show.in"', '"to": "show.imge"'))
    ran = await flowcore("deploy", path, status=1)
    assert f"{path}:" in ran.err and "imge" in ran.err and "nothing was deployed" in ran.err
    assert (await flowcore("validate", path, status=1)).err.startswith(f"{path}:")
    (flow,) = (await flowcore("status", "--json")).json["flows"]
    assert {node["state"] for node in flow["nodes"]} == {"running"}
    assert "no such file" in (await flowcore("deploy", "nowhere.json", status=1)).err


async def test_steering_by_command(flowcore, demo):
    """pause, resume, bypass, kill, inject, last, stop, start, restart, remove: each does it and says so."""
    await flowcore("deploy", flowcore.write(demo))
    assert "paused" in (await flowcore("pause", "demo.band")).out
    assert "goes on" in (await flowcore("resume", "demo.band")).out
    assert "bypassed" in (await flowcore("bypass", "demo.band")).out
    assert "handles again" in (await flowcore("bypass", "demo.band", "--off")).out
    await flowcore("inject", "demo.band", "20.5")
    assert (await flowcore("last", "demo.band.changed")).json["payload"] == 20.5
    assert "killed" in (await flowcore("kill", "demo.show")).out
    assert "restarted" in (await flowcore("restart", "demo")).out
    assert "stopped band, show" in (await flowcore("stop", "demo")).out
    assert "running" not in (await flowcore("status")).out
    assert "started band, show" in (await flowcore("start", "demo")).out
    assert "removed" in (await flowcore("remove", "demo")).out
    assert "unknown_flow" in (await flowcore("pause", "demo", "--json", status=1)).out


async def test_scripts_run_in_a_folder_that_deploy_made(flowcore, demo):
    """Whatever the umask: the data folder is closed to others, else no script would be given a worker."""
    demo["nodes"][0] = {"id": "twice", "type": "core/function", "config": {"script": "return msg"}}
    demo["wires"] = []
    done = (await flowcore("deploy", flowcore.write(demo), "--json")).json["flows"][0]
    assert not done["failed"] and not done["starting"]
    assert flowcore.data.stat().st_mode & 0o777 == 0o700


async def test_one_node_of_a_flow(flowcore, demo):
    """`status FLOW.NODE`; what is disabled is said to be so, with the command that changes it."""
    await flowcore("deploy", flowcore.write(demo))
    [flow] = (await flowcore("status", "demo.band", "--json")).json["flows"]
    assert [node["node"] for node in flow["nodes"]] == ["band"]
    assert "it runs: band, show" in (await flowcore("status", "demo.bnd", status=1)).err
    await flowcore("stop", "demo.show")
    assert "it is disabled; flowcore start demo.show" in (await flowcore("pause", "demo.show", status=1)).err
    assert "nothing in the log of nope" in (await flowcore("logs", "nope")).err


async def test_sub_and_pub(flowcore, demo):
    """A line of JSON a message; the value goes in as one."""
    await flowcore("deploy", flowcore.write(demo))
    sub = await flowcore.start("sub", "flow.demo.band.out.>", "-n", "1")
    ended = asyncio.create_task(sub.wait())
    for value in range(10, 1000, 10):  # the subscriber may not be there at the first one; each passes the deadband
        await flowcore("pub", "flow.demo.band.in.value", value, "--topic", "line/1")
        if ended.done():
            break
    line = json.loads((await sub.stdout.read()).splitlines()[0])
    assert line["node"] == "band" and line["topic"] == "line/1" and line["payload"] % 10 == 0
    missing = await flowcore("pub", "flow.demo.band.in.nope", 1, status=1)
    assert "no such input (it has: value)" in missing.err and "flowcore status" in missing.err
    assert "no node listens" in (await flowcore("pub", "flow.demo.bnd.in.value", 1, status=1)).err
    await flowcore("pause", "demo.band")  # it has the message, and handles it later
    assert (await flowcore("pub", "flow.demo.band.in.value", 1, "--json")).json["handled"] is False
    assert "no message on" in (await flowcore("sub", "nothing.here", "--timeout", "0.2", status=1)).err
    assert "not a subject" in (await flowcore("sub", "a..b", status=2)).err
