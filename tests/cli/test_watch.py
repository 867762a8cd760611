"""`flowcore up --watch`: files and what runs are kept the same."""

import json

from tests.cli.conftest import said


async def test_a_save_deploys_and_a_deploy_from_elsewhere_is_written_back(flowcore, demo):
    """Both ways, and a broken save changes nothing."""
    path = flowcore.write(demo, "flows/demo.json")
    up = await flowcore.start("up", "--watch", "flows", "--nats-port", 0, "--mqtt-port", 0)
    await said(up, "started band, show")

    demo["nodes"][0]["config"] = {"band": 2.0}
    flowcore.write(demo, "flows/demo.json")
    assert "band" in (await said(up, "demo: revision"))[-1]

    path.write_text("{ broken")
    lines = await said(up, "nothing was deployed")
    assert any("demo.json:1" in line for line in lines)
    flowcore.write(demo, "flows/demo.json")  # as it runs: nothing to do

    await flowcore("rollback", "demo")
    await said(up, "written to")
    written = json.loads(path.read_text())
    assert written["nodes"][0]["config"] == {"band": 1.0}
    assert path.read_text().count("\n") > 5  # pretty-printed

    written["nodes"][0]["config"] = {"band": 5.0}  # goes on from what was written back: not stale
    flowcore.write(written, "flows/demo.json")
    assert "band" in (await said(up, "demo: revision"))[-1]


async def test_a_new_file_and_a_new_flow_find_each_other(flowcore, demo):
    """A file that comes is deployed; a flow that comes gets a file; a file that goes leaves its flow running."""
    (flowcore.folder / "flows").mkdir()
    up = await flowcore.up("--watch", "flows")
    path = flowcore.write(demo, "flows/any-name.json")
    await said(up, "demo: revision")
    demo["id"] = "other"
    await flowcore("deploy", flowcore.write(demo, "elsewhere.json"))
    await said(up, "written to")
    assert json.loads((flowcore.folder / "flows" / "other.json").read_text()) == demo
    path.unlink()
    assert "runs on" in (await said(up, "is gone"))[-1]
    assert {flow["flow"] for flow in (await flowcore("status", "--json")).json["flows"]} == {"demo", "other"}


async def test_what_changed_while_nothing_watched_is_sorted_out_at_start(flowcore, demo):
    """A file edited meanwhile is deployed; a flow changed meanwhile is written to its file."""
    path = flowcore.write(demo, "flows/demo.json")
    up = await flowcore.start("up", "--watch", "flows", "--nats-port", 0, "--mqtt-port", 0)
    await said(up, "started band, show")
    await flowcore("down")
    await up.wait()

    demo["nodes"][0]["config"] = {"band": 7.0}
    flowcore.write(demo, "flows/demo.json")
    up = await flowcore.start("up", "--watch", "flows", "--nats-port", 0, "--mqtt-port", 0)
    await said(up, "demo: revision")
    await flowcore("down")
    await up.wait()

    up = await flowcore.up()  # nobody watches
    await flowcore("rollback", "demo")
    await flowcore("down")
    await up.wait()
    up = await flowcore.start("up", "--watch", "flows", "--nats-port", 0, "--mqtt-port", 0)
    await said(up, "written to")
    assert json.loads(path.read_text())["nodes"][0]["config"] == {"band": 1.0}
