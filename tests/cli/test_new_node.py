"""`flowcore new-node`, `nodes`, `doctor`: what needs no runtime."""

import asyncio
import json
import os
import socket
import subprocess
import sys


async def test_a_new_package_installs_and_passes_its_tests(flowcore, tmp_path):
    """As a user does it: make, install, test, list; in an environment of its own."""
    made = (await flowcore("new-node", "acme-nodes", "--json")).json
    assert made["type"] == "acme/scale" and "pyproject.toml" in made["files"]
    package = tmp_path / "acme-nodes"
    site = tmp_path / "site"
    install = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--no-build-isolation"]
    done = await _run(*install, "--target", str(site), str(package))
    if done.returncode and "hatchling" in done.stderr:  # no build tool here: let pip fetch it
        install.remove("--no-build-isolation")
        done = await _run(*install, "--target", str(site), str(package))
    assert done.returncode == 0, done.stderr
    env = {**os.environ, "PYTHONPATH": str(site)}
    tests = await _run(sys.executable, "-m", "pytest", "-q", str(package), env=env, cwd=package)
    assert tests.returncode == 0 and "2 passed" in tests.stdout, tests.stdout + tests.stderr
    flowcore.env["PYTHONPATH"] = str(site)
    assert "Multiply a number" in (await flowcore("nodes", "acme/scale")).out
    flowcore.write({"flowcore": 1, "id": "a", "nodes": [{"id": "s", "type": "acme/scale"}]}, "a.json")
    assert "valid" in (await flowcore("validate", "a.json")).out


async def test_a_new_package_does_not_overwrite(flowcore):
    """Nor takes a name that is none."""
    await flowcore("new-node", "acme-nodes")
    assert "exists" in (await flowcore("new-node", "acme-nodes", status=1)).err
    assert "no package name" in (await flowcore("new-node", "../evil", status=2)).err


async def test_nodes_lists_types_and_shows_one(flowcore):
    """The palette in the terminal; a wrong name gets the nearest right one."""
    assert "core/deadband" in (await flowcore("nodes")).out
    page = (await flowcore("nodes", "core/deadband")).out
    assert "band (number" in page and "in  value: " in page and "out changed" in page
    assert "Did you mean 'core/deadband'" in (await flowcore("nodes", "core/dedband", status=1)).err
    assert len((await flowcore("nodes", "iot/", "--json")).json["types"]) >= 2


async def test_doctor_says_what_is_there(flowcore):
    """Every subject is looked at; on a machine that runs these tests nothing fails."""
    ran = await flowcore("doctor", "--json")
    names = {check["name"] for check in ran.json["checks"]}
    assert {
        "system",
        "kernel",
        "python",
        "nats-server",
        "memory",
        "open files",
        "disk",
        "sandbox",
        "node types",
    } <= names
    assert ran.json["state"] == "ok"
    assert all(check["do"] for check in ran.json["checks"] if check["state"] != "ok")
    assert "fit for flowcore" in (await flowcore("doctor", "--quick")).out


async def test_doctor_looks_at_the_ports_of_the_data_folder(flowcore):
    """Those of the last start: free, then taken by somebody else; and who has them while a runtime runs."""
    up = await flowcore.up()
    running = (await flowcore("doctor", "--quick")).out
    assert "a runtime runs here: nats://127.0.0.1:" in running and f"process {up.pid}" in running
    await flowcore("down")
    port = json.loads((flowcore.data / "ports.json").read_text())["nats"]["port"]
    ran = await flowcore("doctor", "--quick", "--json")
    assert _check_of(ran, f"port {port}")["found"] == "free for NATS, as at the last start"
    with socket.socket() as other:
        other.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # connections of the runtime may still fade away
        other.bind(("127.0.0.1", port))
        other.listen()
        taken = _check_of(await flowcore("doctor", "--quick", "--json"), f"port {port}")
    assert taken["state"] == "warn" and "address already in use" in taken["found"] and "next free one" in taken["do"]


def _check_of(ran, name):
    return next(check for check in ran.json["checks"] if check["name"] == name)


async def _run(*command, env=None, cwd=None):
    return await asyncio.to_thread(
        subprocess.run, command, env=env, cwd=cwd, capture_output=True, text=True, timeout=300, check=False
    )
