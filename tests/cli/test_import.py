"""`flowcore import nodered`: files are written, what is not as it was is told, nothing is overwritten."""

import json
from pathlib import Path

EXPORTS = Path(__file__).parents[1] / "convert" / "exports"


async def test_an_export_becomes_files_that_validate(flowcore):
    """A file a tab, and what could not be turned with what to use instead."""
    ran = await flowcore("import", "nodered", EXPORTS / "tabs-and-links.json", "--out", "made")
    assert "made/orders.json: flow orders" in ran.out and "next: flowcore deploy made/orders.json" in ran.out
    ran = await flowcore(
        "validate", *(flowcore.folder / "made" / f"{name}.json" for name in ("orders", "shared-parts"))
    )
    assert "orders.json: valid" in ran.out and "shared-parts.json: valid" in ran.out and "error" not in ran.err
    ran = await flowcore("import", "nodered", EXPORTS / "other-packages.json")
    assert "could not be turned" in ran.out and "modbus-dashboard.pressure" in ran.out
    assert (flowcore.folder / "modbus-dashboard.json").exists()


async def test_as_json(flowcore):
    """Flows and findings, for programs."""
    ran = await flowcore("import", "nodered", EXPORTS / "other-packages.json", "--out", "line.json", "--json")
    assert ran.json["flows"] == [{"file": "line.json", "flow": "modbus-dashboard", "nodes": 13, "problems": []}]
    finding = next(one for one in ran.json["findings"] if one["source"] == "p2")
    assert finding["kind"] == "not turned" and finding["node"] == "pressure" and finding["instead"]


async def test_what_can_not_be_done_is_said(flowcore):
    """A file that is there, one file for several tabs, a file that is no export."""
    await flowcore("import", "nodered", EXPORTS / "first-steps.json")
    ran = await flowcore("import", "nodered", EXPORTS / "first-steps.json", status=1)
    assert "first-steps.json: there already. Choose another --out, or --force." in ran.err
    await flowcore("import", "nodered", EXPORTS / "first-steps.json", "--force")
    ran = await flowcore("import", "nodered", EXPORTS / "tabs-and-links.json", "--out", "one.json", status=2)
    assert "there are 3 tabs (orders, shared-parts, trial)" in ran.err
    (flowcore.folder / "no.json").write_text(json.dumps({"flowcore": 1}))
    ran = await flowcore("import", "nodered", "no.json", status=1)
    assert "no.json is no Node-RED export" in ran.err
