"""Versions on a real host: a type upgraded under a flow, an upgrade that fails, a folder of a newer flowcore."""

import json

import pytest
from line_flow import chain, lines_of, until

from flowcore import __version__
from flowcore.runtime.folder import DataFolder
from flowcore.runtime.results import DeployRefused, HostError, NewerFolder

# `to_add` is called `plus` from version 2 on; what is negative was never meant to be.
NEWER = """
    version = 2
    class Config(NodeConfig):
        plus: float = field(0.0, description="What is added")
        die_on: float = field(-1.0, description="A number that kills the process")
    @classmethod
    def upgrade(cls, config, version):
        if config.get("to_add", 0) < 0:
            raise ValueError("cannot subtract any more")
        config["plus"] = config.pop("to_add", 0.0)
        return config
"""


async def test_a_flow_outlives_the_upgrade_of_a_type_it_uses(host, plugin, tmp_path):
    """The stored document stays as it is; its config is upgraded whenever it is resolved, and a deploy says so."""
    out = tmp_path / "out"
    document = chain(out, count={"to": 100_000, "pause_s": 0.02}, add={"to_add": 1000})
    result = await host.documents.deploy(document, "line.json")
    assert not result.problems, result
    await lines_of(out, 20)

    old = """    class Config(NodeConfig):
        to_add: float = field(0.0, description="What is added")
        die_on: float = field(-1.0, description="A number that kills the process")
"""
    text = plugin.read_text()
    assert old in text
    plugin.write_text(
        text.replace(old, NEWER).replace(
            "message.payload + self.config.to_add", "message.payload + self.config.plus", 1
        )
    )
    await until(lambda: host.types["hosttest/add"].config_version == 2, timeout=90)
    await until(
        lambda: any("was taken as version 2" in note for flow in host.status("line") for note in flow.notes), timeout=90
    )
    count = len(out.read_text().split())
    assert min(await lines_of(out, count + 20)) == 1001
    stored = (await host.documents.read("line"))["document"]
    assert stored == json.loads(document)

    result = await host.documents.deploy(
        chain(out, count={"to": 100_000, "pause_s": 0.02}, add={"to_add": 2000}), "line.json"
    )
    assert any("version 1 of the config of node 'add' was taken as version 2" in note for note in result.notes)
    with pytest.raises(DeployRefused, match=r"node 'add' cannot be upgraded .* ValueError: cannot subtract any more"):
        await host.documents.deploy(chain(out, add={"to_add": -1}), "line.json")
    newer = json.loads(document)
    newer["nodes"][1]["version"] = 3
    with pytest.raises(DeployRefused, match=r"version 3 of hosttest/add, and the installed hosttest 1\.0 knows 2"):
        await host.documents.deploy(json.dumps(newer), "line.json")
    before = len(out.read_text().split())
    await lines_of(out, before + 20)  # what ran goes on


def test_a_data_folder_says_its_format_and_a_newer_one_is_refused(tmp_path):
    """By name, and nothing in it is touched; one from before folders said it is taken."""
    folder = DataFolder(tmp_path / "data")
    folder.lock()
    folder.unlock()
    said = tmp_path / "data" / "folder.json"
    assert json.loads(said.read_text()) == {"format": 1, "flowcore": __version__}
    said.write_text(json.dumps({"format": 3, "flowcore": "0.9.1"}))
    (tmp_path / "data" / "stopped.json").write_text("{}")
    with pytest.raises(NewerFolder) as refused:
        folder.lock()
    assert str(refused.value) == (
        f"the data folder {tmp_path / 'data'} is of format 3, written by flowcore 0.9.1, and this flowcore "
        f"{__version__} knows format 1; `pip install -U flowcore`, or choose another --data folder"
    )
    assert (tmp_path / "data" / "stopped.json").exists()
    for rubbish in ("", "[]", '{"format": "1"}'):
        said.write_text(rubbish)
        with pytest.raises(HostError, match=r"folder\.json does not say which format"):
            folder.lock()
    said.unlink()
    folder.lock()
    folder.unlock()
