"""What every command has in common."""

import re
import resource
import subprocess
import sys

import pytest

from flowcore.cli.main import COMMANDS, GROUPS, app


@pytest.mark.alone
async def test_help_is_quick_and_lists_every_command(flowcore):
    """Nothing heavy is imported to show what there is."""
    library = [sys.executable, "-c", "import typer"]  # what a command made with it costs at least, here and now
    took, least = [], []
    for _ in range(3):
        least.append(_processor_s(lambda: subprocess.run(library, check=True)))
        took.append(_processor_s(lambda: subprocess.run(flowcore.line("--help"), check=True, capture_output=True)))
    shown = (await flowcore("--help")).out
    for name in [command for _, commands in COMMANDS for command in commands] + list(GROUPS):
        assert re.search(rf"^  {name}\b", shown, re.M), name
    assert min(took) < 2 * min(least), (took, least)


def _processor_s(run):
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    run()
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


WITHOUT_RUNTIME = ("test", "upgrade")  # their business is files alone


def _all_commands():
    import typer

    root = typer.main.get_command(app)
    for name, command in root.commands.items():
        inner = getattr(command, "commands", None)
        yield from ((f"{name} {sub}", one) for sub, one in inner.items()) if inner else ((name, command),)


@pytest.mark.parametrize(("name", "command"), list(_all_commands()))
def test_every_command_has_json_data_and_help(name, command):
    """The same options everywhere, and one sentence that says what it does."""
    options = {option for parameter in command.params for option in parameter.opts}
    common = {"--json"} if name in WITHOUT_RUNTIME else {"--json", "--data"}
    assert common <= options, name
    assert command.help and command.help[0].isupper()


@pytest.mark.parametrize(
    ("args", "says"),
    [
        (["nonsense"], "No such command"),
        (["deploy"], "Missing argument"),
        (["status", "--nonsense"], "No such option"),
        (["pause", "a.b.c"], "neither FLOW nor FLOW.NODE"),
        (["kill", "factory"], "names no node"),
        (["logs", "--level", "loud"], "no level"),
        (["logs", "--since", "yesterday"], "is no time"),
        (["pub", "flow.a.b.in.c", "hello"], "Text needs quotes"),
        (["retry"], "name ids"),
        (["retry", "x1"], "no id of a message"),
        (["access", "add", "scada"], "can do nothing"),
        (["deploy", "a.json", "b.json", "--only", "x"], "--only takes one file"),
    ],
)
async def test_wrong_use_is_status_2_and_one_line(flowcore, args, says):
    """What is wrong and what to do, on one line of standard error."""
    (flowcore.data / "logs").mkdir(parents=True)
    ran = await flowcore(*args, status=2)
    assert says in ran.err and ran.err.count("\n") == 1 and ran.out == ""


@pytest.mark.parametrize("args", [["status"], ["down"], ["pause", "a"], ["sub", "x"], ["history", "a"], ["errors"]])
async def test_without_a_runtime_it_says_how_to_start_one(flowcore, args):
    """Status 1, one line; with --json the same as JSON."""
    ran = await flowcore(*args, status=1)
    assert "no runtime runs on" in ran.err and "flowcore up --data" in ran.err and ran.err.count("\n") == 1
    ran = await flowcore(*args, "--json", status=1)
    assert ran.json["error"]["code"] == "not_running" and ran.err == ""


async def test_version(flowcore):
    """For bug reports."""
    assert re.fullmatch(r"flowcore \d+\.\d+\.\d+\n", (await flowcore("--version")).out)


async def test_a_folder_that_cannot_be_made_is_named(flowcore):
    """Not our fault, so nobody is asked to report it."""
    flowcore.write({})
    for args in (["deploy", "demo.json"], ["up"], ["secret", "set", "X"]):
        ran = await flowcore(*args, "--data", "demo.json/data", stdin="x", status=1)
        assert "demo.json" in ran.err and "report" not in ran.err and ran.err.count("\n") == 1, ran.err
