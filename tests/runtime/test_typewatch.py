"""Node types while the host runs: installed, edited, broken, mended, each without a restart of the host."""

import json
import os
import time

import pytest
from line_flow import NODES, chain, install, lines_of, numbers_in, pids, until


async def test_saving_a_node_file_replaces_its_nodes_without_loss(host, tmp_path, plugin):
    """Under load: the nodes of the file get new processes, every number arrives."""
    out = tmp_path / "out"
    await host.documents.deploy(chain(out, count={"to": 2000}), "line.json")
    await lines_of(out, 50)
    before = pids(host)
    adding = "message.payload + self.config.to_add"
    plugin.write_text(NODES.replace(adding, f"{adding} + 5000"))
    await until(lambda: pids(host)["add"] not in (before["add"], None))

    # A replace that times out on a busy machine handles some twice: the first handlings are whole and in order.
    def first_handlings():
        return list(dict.fromkeys(number % 5000 for number in numbers_in(out)))

    await until(lambda: len(first_handlings()) >= 2000)
    assert first_handlings() == list(range(1, 2001)) and max(numbers_in(out)) > 5000


async def test_a_syntax_error_keeps_what_runs_and_is_shown(host, tmp_path, plugin):
    """The old processes stay; the error names file and line; mended, the new code runs."""
    out = tmp_path / "out"
    await host.documents.deploy(chain(out, count={"to": 20000, "pause_s": 0.001}), "line.json")
    before = pids(host)
    plugin.write_text(NODES + "\ndef broken(:\n")
    await until(lambda: host.type_problems)
    assert "nodes.py" in host.type_problems[0] and "hosttest/add" in host.types
    assert pids(host) == before
    plugin.write_text(NODES + "\nmended = True\n")
    await until(lambda: not host.type_problems)
    await until(lambda: not set(pids(host).values()) & set(before.values()))


async def test_a_package_installed_while_the_host_runs_is_there(host, plugin, tmp_path):
    """Its types are known, and a flow with them can be deployed."""
    assert "late/add" not in host.types
    install(tmp_path / "site", "late")
    await host._types.refresh()
    assert "late/add" in host.types and not host.type_problems
    document = {"flowcore": 1, "id": "late", "nodes": [{"id": "add", "type": "late/add"}], "wires": []}
    assert (await host.documents.deploy(json.dumps(document), "late.json")).started == ("add",)


async def test_a_helper_of_a_plug_in_counts_as_the_source_of_those_who_import_it(tmp_path, make_host, plugin):
    """A change of a module that a node's module imports replaces that node; others of the package stay."""
    (plugin.parent / "helper.py").write_text("BY = 1\n")
    (plugin.parent / "nodes.py").write_text(NODES + "\nfrom hosttest.helper import BY\n")
    (plugin.parent / "alone.py").write_text("BY = 1\n")
    host = await make_host()
    code = dict(host._types.known.code)
    (plugin.parent / "alone.py").write_text("BY = 2\n")
    await host._types.refresh()
    assert host._types.known.code == code
    (plugin.parent / "helper.py").write_text("BY = 2\n")
    await host._types.refresh()
    assert host._types.known.code != code


COUNTING = """
try:
    import not_there_yet
except ImportError:
    pass
with open({log!r}, "a") as log:
    log.write("read\\n")
"""


@pytest.fixture
def counted(tmp_path, plugin, monkeypatch):
    """Reads the types as a host that starts does, and says how often the plug-in was imported so far."""
    from flowcore.runtime.environment import for_nodes
    from flowcore.runtime.typewatch import TypeWatch

    log = tmp_path / "imported"
    (plugin.parent / "beside.txt").write_text("")
    plugin.write_text(plugin.read_text() + COUNTING.format(log=str(log)))
    (tmp_path / "work").mkdir()
    monkeypatch.chdir(tmp_path / "work")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    _age(tmp_path)

    async def read():
        watch = TypeWatch(for_nodes(os.environ), lambda _changed: None)
        await watch.start()
        await watch.stop()
        return watch.known, len(log.read_text().splitlines())

    return read


def _age(folder):
    """As if nothing in it had been written just now."""
    for path in (folder, *folder.rglob("*")):
        os.utime(path, (time.time() - 60,) * 2)


async def test_a_list_is_kept_until_something_that_it_was_made_of_changes(counted, plugin, tmp_path):
    """A host that starts imports no plug-in while all is as it was; a file edited, come or gone counts."""
    first, _ = await counted()
    again, imports = await counted()
    assert (
        imports == 1 and vars(again) == vars(first) and "hosttest/add" in again.types and "core/inject" in again.types
    )
    install(tmp_path / "site", "another")
    known, imports = await counted()
    assert imports == 1 and "another/add" in known.types
    for change in (
        lambda: plugin.write_text(plugin.read_text() + "# edited"),
        lambda: (plugin.parent / "beside.txt").unlink(),
        lambda: (plugin.parent / "more.py").write_text(""),
        lambda: (tmp_path / "site" / "not_there_yet.py").write_text(""),
    ):
        change()
        _, changed = await counted()
        _age(tmp_path)
        _, settled = await counted()
        _, after = await counted()
        assert (changed, settled, after) == (imports + 1, imports + 2, imports + 2)  # what was just written is not kept
        imports = after


async def test_rubbish_in_what_is_kept_and_another_environment_count_as_nothing_kept(counted, tmp_path, monkeypatch):
    """Then it is read anew."""
    known, _ = await counted()
    for file in (tmp_path / "cache").rglob("types-*.json"):
        file.write_text('{"types": 3')
    assert vars((await counted())[0]) == vars(known)
    monkeypatch.setenv("OPENCV_LOG_LEVEL", "DEBUG")
    assert (await counted())[1] == 3


async def test_a_plug_in_that_ends_the_process_hides_no_other(counted, plugin, tmp_path):
    """It is named with what it said last; a type that two packages bring is neither's."""
    install(tmp_path / "site", "ends", "import os, sys\nsys.stderr.write('out of here')\nos._exit(3)\n")
    for name in ("same", "third"):
        install(tmp_path / "site", name, NODES.replace("hosttest", name)).write_text(NODES)
    known, _ = await counted()
    assert {(problem.plugin, problem.text) for problem in known.problems} >= {
        ("ends", "ended the process that imported it, with status 3"),
        ("hosttest", "type hosttest/add is brought by hosttest and same and third: none of them is used"),
    }
    assert "core/inject" in known.types and "hosttest/add" not in known.types
    assert any("out of here" in problem.traceback for problem in known.problems)
