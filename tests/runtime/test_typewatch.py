"""Node types while the host runs: installed, edited, broken, mended, each without a restart of the host."""

import json

from line_flow import NODES, chain, install, lines_of, numbers_in, pids, until


async def test_saving_a_node_file_replaces_its_nodes_without_loss(host, tmp_path, plugin):
    """Under load: the nodes of the file get new processes, every number arrives."""
    out = tmp_path / "out"
    await host.deploy(chain(out, count={"to": 2000}), "line.json")
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
    await host.deploy(chain(out, count={"to": 20000, "pause_s": 0.001}), "line.json")
    before = pids(host)
    plugin.write_text(NODES + "\ndef broken(:\n")
    await until(lambda: host.type_problems)
    assert "nodes.py" in host.type_problems[0] and "hosttest/add" in host.types
    assert pids(host) == before
    plugin.write_text(NODES + "\nmended = True\n")
    await until(lambda: not host.type_problems)
    await until(lambda: not set(pids(host).values()) & set(before.values()))


async def test_a_package_installed_while_the_host_runs_is_there(host, tmp_path):
    """Its types are known, and a flow with them can be deployed."""
    assert "late/add" not in host.types
    install(tmp_path / "site", "late")
    await host._types.refresh()
    assert "late/add" in host.types and not host.type_problems
    document = {"flowcore": 1, "id": "late", "nodes": [{"id": "add", "type": "late/add"}], "wires": []}
    assert (await host.deploy(json.dumps(document), "late.json")).started == ("add",)


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
