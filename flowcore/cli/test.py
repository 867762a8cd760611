"""`flowcore test FLOW...`: run the cases beside flows, in a runtime of their own."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from flowcore.cli.options import DATA, Json

if TYPE_CHECKING:
    from flowcore.testing.check import Ready
    from flowcore.testing.rig import Rig


def test(
    files: Annotated[
        list[Path], typer.Argument(metavar="FLOW...", help="Flow files, their test files, or folders of them.")
    ],
    only: Annotated[
        str, typer.Option("-k", metavar="TEXT", help="Only cases whose name (FLOW: CASE) has this text in it.")
    ] = "",
    junit: Annotated[Path | None, typer.Option(metavar="FILE", help="Write the results as JUnit XML, too.")] = None,
    watch: Annotated[bool, typer.Option("--watch", help="Again at each save, until Ctrl-C.")] = False,
    json: Json = False,
) -> None:
    """Run the cases beside flows (`factory.test.json` for `factory.json`) in a runtime of their own."""
    import asyncio

    import uvloop

    from flowcore.runtime import agentfolder

    paths = _test_files(files)
    agentfolder.tell(agentfolder.beside(DATA))
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        try:
            status = runner.run(_run(paths, only, junit, watch, json))
        except asyncio.CancelledError:
            raise typer.Abort from None
    if status:
        raise typer.Exit(status)


def _test_files(files: list[Path]) -> list[Path]:
    """The test files that are meant.

    Raises:
        Failed: a file is not there, or has no cases beside it.
    """
    from flowcore.cli import out
    from flowcore.testing.names import SUFFIX, tests_of

    found: list[Path] = []
    for file in files:
        if file.is_dir():
            inside = sorted(file.glob(f"*{SUFFIX}"))
            if not inside:
                raise out.Misused(
                    f"{file}: no *{SUFFIX} in this folder", "Write cases beside a flow: docs/flow-tests.md"
                )
            found += inside
            continue
        if not file.exists():
            raise out.Misused(f"{file}: no such file", "Give the path of a flow, for example flows/factory.json")
        tests = tests_of(file)
        if not tests.exists():
            raise out.Misused(f"{file} has no cases: there is no {tests}", "Write them there: docs/flow-tests.md")
        found.append(tests)
    return list(dict.fromkeys(found))


async def _run(paths: list[Path], only: str, junit: Path | None, watch: bool, json: bool) -> int:
    import asyncio
    import signal

    from flowcore.testing.rig import Rig

    me = asyncio.current_task()
    assert me is not None
    # As Ctrl-C does: the runtime ends in order, and its folder goes. A CI job that is called off sends this.
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, me.cancel)
    async with Rig() as rig:
        status = await _once(rig, paths, only, junit, json)
        if watch:
            await _watch(rig, paths, only, junit, json)
            return 0
    return status


async def _once(rig: "Rig", paths: list[Path], only: str, junit: Path | None, json: bool) -> int:
    """Check all files, then run their cases; 2 when a file is wrong, 1 when a case fails."""
    import time

    from flowcore.cli import out
    from flowcore.testing import report
    from flowcore.testing.run import run_case

    cases, problems = _checked(rig, paths)
    if not json:
        for trouble in rig.host.type_problems:
            out.note(trouble)
    if problems:
        if json:
            out.line({"passed": False, "problems": problems, "cases": []})
        else:
            for problem in problems:
                out.note(problem)
            many = "1 error" if len(problems) == 1 else f"{len(problems)} errors"
            out.note(f"{many}. No case was run.")
        return 2
    chosen = [ready for ready in cases if only.lower() in ready.id.lower()]
    if not chosen:
        out.note(f"no case has {only!r} in its name; there are: {', '.join(ready.id for ready in cases)}")
        return 2
    begun_s = time.perf_counter()
    results = []
    for ready in chosen:
        result = await run_case(rig, ready)
        results.append(result)
        if not json:
            out.show(report.line(result))
            if result.outcome in ("failed", "broken"):
                out.show(result.text())
    if junit is not None:
        report.write_junit(junit, results)
    passed = all(one.outcome in ("passed", "skipped") for one in results)
    if json:
        out.line({"passed": passed, "problems": [], "cases": [report.asdict(one) for one in results]})
    else:
        out.show(report.summary(results, time.perf_counter() - begun_s))
    return 0 if passed else 1


def _checked(rig: "Rig", paths: list[Path]) -> "tuple[list[Ready], list[str]]":
    from flowcore.testing.check import check_file

    cases: list[Ready] = []
    problems: list[str] = []
    for path in paths:
        try:
            checked = check_file(path, rig.types)
        except OSError as e:
            problems.append(f"{path}: {e.strerror}")
            continue
        problems += [str(problem) for problem in checked.problems]
        cases += checked.cases
    return cases, problems


async def _watch(rig: "Rig", paths: list[Path], only: str, junit: Path | None, json: bool) -> None:
    """Run again what a saved file concerns."""
    from watchfiles import awatch

    from flowcore.cli import out

    folders = {path.parent for path in paths}
    async for changes in awatch(*folders, recursive=False):
        changed = {Path(name).resolve() for _, name in changes}
        again = [path for path in paths if {path.resolve(), *_flows(path)} & changed]
        if again:
            out.note("")
            await _once(rig, again, only, junit, json)


def _flows(path: Path) -> list[Path]:
    import json

    from flowcore.testing.names import flow_of

    try:
        named = json.loads(path.read_text()).get("flow", "")
    except (OSError, ValueError, AttributeError):
        named = ""
    return [flow_of(path, named if isinstance(named, str) else "").resolve()]
