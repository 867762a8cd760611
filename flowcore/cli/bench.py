"""`flowcore bench`: measure flowcore on this machine, on a runtime of its own that is gone afterwards."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from flowcore.cli.options import Json

if TYPE_CHECKING:
    from flowcore.bench.figures import Row
    from flowcore.bench.session import Options, Part


def bench(
    parts: Annotated[
        list[str] | None, typer.Argument(metavar="[PART]...", help="What to measure; none: everything.")
    ] = None,
    quick: Annotated[
        bool, typer.Option("--quick", help="Short runs and small flows: does it work? Its figures say little.")
    ] = False,
    seconds: Annotated[float | None, typer.Option(min=0.2, max=120, help="Length of a run; else 3.")] = None,
    runs: Annotated[int | None, typer.Option(min=1, max=100, help="Runs of each figure; else 3.")] = None,
    plot: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Also draw it, as .png, .svg or .pdf: needs flowcore[bench].")
    ] = None,
    list_: Annotated[bool, typer.Option("--list", help="List the parts, and end.")] = False,
    data: Annotated[
        Path | None,
        typer.Option("--data", metavar="FOLDER", help="Where its temporary data folder is made: the disk counts."),
    ] = None,
    json: Json = False,
) -> None:
    """Measure throughput, latency, start, reload and idle cost here: median and spread beside what is to be reached."""
    from flowcore.bench import plot as drawing
    from flowcore.bench.parts import PARTS
    from flowcore.bench.session import as_json, faults
    from flowcore.cli import out

    if list_:
        shown = out.table(("part", "what is measured"), [(part.name, part.what) for part in PARTS.values()])
        out.result(shown, json, parts={part.name: part.what for part in PARTS.values()})
        return
    chosen = [_part(name, PARTS) for name in dict.fromkeys(parts or PARTS)]
    if data is not None and not data.is_dir():
        raise out.Misused(f"--data {data}: no such folder", f"Make it: mkdir {data}")
    if plot is not None:
        try:
            drawing.check(plot)
        except drawing.CannotDraw as e:
            raise out.Failed(str(e), e.do) from None
    report = _measure(chosen, _options(quick, seconds, runs), data, json)
    if plot is not None:
        drawing.draw(report, plot)
    if json:
        out.line(as_json(report))
    elif plot is not None:
        out.show(f"drawn: {plot}")
    if found := faults(report):
        raise out.Failed(f"not kept: {'; '.join(found)}", "This is a fault in flowcore; please report it.")


def _options(quick: bool, seconds: float | None, runs: int | None) -> "Options":
    from dataclasses import replace

    from flowcore.bench.session import Options

    chosen = Options.quick() if quick else Options()
    return replace(chosen, seconds=seconds or chosen.seconds, runs=runs or chosen.runs)


def _part(name: str, known: dict[str, "Part"]) -> "Part":
    """The part of that name.

    Raises:
        Misused: there is none; names the nearest.
    """
    from difflib import get_close_matches

    from flowcore.cli import out

    if name not in known:
        near = get_close_matches(name, known, 1)
        guess = f"; did you mean '{near[0]}'?" if near else ""
        raise out.Misused(f"no part {name!r}{guess} (there are: {', '.join(known)})", "See: flowcore bench --list")
    return known[name]


def _measure(parts: list["Part"], options: "Options", folder: Path | None, json: bool) -> dict[str, Any]:
    """Run them; Ctrl-C, SIGTERM or the end of the terminal ends the run in order.

    Raises:
        Failed: a part could not be measured.
    """
    import asyncio

    import uvloop

    from flowcore.bench.runtime import RuntimeFailed
    from flowcore.cli import out

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        try:
            return runner.run(_report(parts, options, folder, json))
        except (RuntimeFailed, TimeoutError) as e:
            for note in getattr(e, "__notes__", ()):
                out.note(note)
            raise out.Failed(str(e), "Look at this machine: flowcore doctor") from None
        except asyncio.CancelledError:
            raise out.Failed("stopped; nothing was left behind") from None


async def _report(parts: list["Part"], options: "Options", folder: Path | None, json: bool) -> dict[str, Any]:
    import asyncio
    import signal
    import sys

    from flowcore.bench.session import run_part, statement
    from flowcore.cli import out

    loop, task = asyncio.get_running_loop(), asyncio.current_task()
    assert task is not None

    def stop() -> None:
        for number in numbers:  # a second one must not disturb the cleaning up
            loop.remove_signal_handler(number)
            signal.signal(number, signal.SIG_IGN)
        task.cancel()

    numbers = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
    for number in numbers:
        loop.add_signal_handler(number, stop)

    def say(text: str) -> None:
        if sys.stderr.isatty():
            out.note(f"  {text}")

    report = {**statement(options), "parts": []}
    if not json:
        _show_statement(report)
    for part in parts:
        say(f"{part.name} ...")
        done = await run_part(part, options, folder, say)
        report["parts"].append(done)
        if not json:
            _show_part(done)
    return report


def _show_statement(report: dict[str, Any]) -> None:
    from flowcore.cli import out

    on, options = report["machine"], report["options"]
    memory = f"{on['memory_bytes'] / 2**30:.0f} GiB"
    out.show(f"{on['cpu']}, {on['cores']} cores, {memory}; {on['system']}, kernel {on['kernel']}, {on['architecture']}")
    out.show(", ".join(f"{name} {version}" for name, version in report["versions"].items()))
    runs = f"{options['runs']} run{'s' * (options['runs'] > 1)} of {options['seconds']:g} s"
    out.show(f"{report['when']}; {runs}{', quick: these figures say little' * options['quick']}")
    around = report["surroundings"]
    if around["busy"]:
        busy = ", ".join(f"{one['name']} ({one['pid']}) {one['cpu']:.0%}" for one in around["busy"])
        out.show(f"busy beside it (the figures suffer): {busy}; load {around['load_1_min']:.2f}")


def _show_part(part: dict[str, Any]) -> None:
    from flowcore.bench.figures import shown
    from flowcore.bench.session import process_line
    from flowcore.cli import out

    rows: list[Row] = part["rows"]
    columns = ["", "median", "min - max", "n", "unit"]
    has_percentiles = any(row.percentiles for row in rows)
    columns += ["p50", "p99", "p99.9", "messages"] * has_percentiles + ["to reach", ""]
    cells = []
    for row in rows:
        spread = f"{shown(min(row.values))} - {shown(max(row.values))}" if len(row.values) > 1 else ""
        line: list[Any] = [row.name, shown(row.median), spread, len(row.values), row.unit]
        if has_percentiles:
            line += [shown(value) for value in row.percentiles.values()] or ["", "", ""]
            line.append(f"{row.messages:,}" if row.messages is not None else "")
        verdict = {None: "", True: "reached", False: "missed"}[row.is_reached]
        cells.append([*line, "" if row.target is None else str(row.target), verdict])
    out.show(f"\n{part['part']}: {part['what']} ({part['took_s']:.0f} s)")
    out.show(out.table(columns, cells, ("median", "min - max", "n", "p50", "p99", "p99.9", "messages")))
    for note in part["notes"]:
        out.show(note)
    for fault in part["faults"]:
        out.show(f"NOT KEPT: {fault}")
    out.show(f"processes: {process_line(part['processes'])}")
