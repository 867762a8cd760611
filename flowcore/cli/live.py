"""The table of what runs: drawn once, again and again on a terminal, or every few seconds into a pipe."""

import asyncio
import sys
from collections.abc import Awaitable, Callable, Iterator
from typing import Any

COLUMNS = ("node", "state", "rate/s", "queue", "drops", "p50 ms", "CPU %", "memory MB", "says")
NUMBERS = COLUMNS[2:8]
_COLOURS = {"running": "green", "failed": "bold red", "restarting": "red", "paused": "yellow", "bypassed": "yellow"}
_PLAIN_EVERY_S = 5.0

Look = Callable[[], Awaitable[dict[str, Any]]]


def rows(status: dict[str, Any]) -> Iterator[tuple[str, ...]]:
    """A row for each process: what `COLUMNS` say."""
    for flow in status["flows"]:
        for node in flow["nodes"]:
            stats = node["stats"]
            wires_in, wires_out = stats.get("inputs") or [], stats.get("outputs") or []
            drops = sum(wire.get("drops") or 0 for wire in (*wires_in, *wires_out))
            p50 = stats.get("p50_ms")
            yield (
                f"{flow['flow']}.{node['process']}",
                node["state"],
                f"{stats.get('rate_hz') or 0:.0f}",
                str(stats.get("queue") or 0),
                str(drops),
                "" if p50 is None else f"{p50:.2f}",
                f"{node['cpu'] * 100:.1f}",
                f"{(stats.get('pss_bytes') or node['rss_bytes']) / 1e6:.0f}",
                node["reason"] or node["badge"],
            )


def draw(status: dict[str, Any]) -> Any:
    """The table, for rich."""
    from rich.text import Text

    from flowcore.cli import out

    table = out.table(COLUMNS, (), NUMBERS)
    for row in rows(status):
        table.add_row(row[0], Text(row[1], style=_COLOURS.get(row[1], "")), *map(Text, row[2:]))
    for flow in status["flows"]:
        if not flow["nodes"]:
            table.add_row(flow["flow"], flow["wanted"])
    return table


def head(status: dict[str, Any]) -> str:
    """One line about the host."""
    host = status["host"]
    mqtt = f", MQTT {host['mqtt_port']}" if host["mqtt_port"] else ""
    return f"flowcore {host['version']}: bus {host['url']}{mqtt}, data {host['folder']}"


def plain(status: dict[str, Any]) -> str:
    """The table as text with columns of their own width: what goes into a pipe or a log."""
    lines = [COLUMNS, *rows(status)]
    widths = [max(len(line[i]) for line in lines) for i in range(len(COLUMNS) - 1)]
    return "\n".join(
        "  ".join(
            [
                *(
                    cell.rjust(w) if COLUMNS[i] in NUMBERS else cell.ljust(w)
                    for i, (cell, w) in enumerate(zip(line, widths, strict=False))
                ),
                line[-1],
            ]
        ).rstrip()
        for line in lines
    )


async def show(look: Look, every_s: float = 1.0, on_console: Callable[[Any], None] | None = None) -> None:
    """Show the table until cancelled: redrawn in place on a terminal, else printed every few seconds.

    Args:
        on_console: told the console above the live table where other text may be printed, and None when it ends.
    """
    if not sys.stdout.isatty():
        while True:
            print(plain(await look()), end="\n\n", flush=True)
            await asyncio.sleep(max(every_s, _PLAIN_EVERY_S))
    from rich.console import Group
    from rich.live import Live

    with Live(auto_refresh=False, vertical_overflow="crop") as live:
        if on_console is not None:
            on_console(live.console)
        try:
            while True:
                status = await look()
                live.update(Group(head(status), draw(status)), refresh=True)
                await asyncio.sleep(every_s)
        finally:
            if on_console is not None:
                on_console(None)
