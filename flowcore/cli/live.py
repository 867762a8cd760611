"""The table of what runs: drawn once, again and again on a terminal, or every few seconds into a pipe."""

import asyncio
import sys
from collections.abc import Awaitable, Callable, Iterator
from typing import Any

COLUMNS = ("node", "state", "rate/s", "queue", "drops", "p50 ms", "CPU %", "memory MB", "says")
SHARED = "shared MB"  # used of what there is, for frames and tensors
NUMBERS = (*COLUMNS[2:8], SHARED)
_COLOURS = {
    "running": "green",
    "failed": "bold red",
    "restarting": "red",
    "away": "red",
    "paused": "yellow",
    "bypassed": "yellow",
}
_PLAIN_EVERY_S = 5.0

Look = Callable[[], Awaitable[dict[str, Any]]]


def columns(status: dict[str, Any]) -> tuple[str, ...]:
    """The heads of `rows`: with the host of each node when there are several, with shared memory if any."""
    host = ("host",) if status.get("hosts") else ()
    shared = (SHARED,) if _shares(status) else ()
    return (COLUMNS[0], *host, *COLUMNS[1:-1], *shared, COLUMNS[-1])


def _shares(status: dict[str, Any]) -> bool:
    return any(node["stats"].get("pools") for flow in status["flows"] for node in flow["nodes"])


def _shared(stats: dict[str, Any]) -> str:
    pools = stats.get("pools") or []
    used = sum((pool["used"] + pool["waiting"]) * pool["slot_bytes"] for pool in pools)
    return f"{used / 1e6:.0f} of {sum(pool['bytes'] for pool in pools) / 1e6:.0f}" if pools else ""


def rows(status: dict[str, Any]) -> Iterator[tuple[str, ...]]:
    """A row for each process, and for each instance of a subflow that shows something: what `columns` say."""
    has_host, shares = bool(status.get("hosts")), _shares(status)
    for flow in status["flows"]:
        for node in flow["nodes"]:
            stats = node["stats"]
            wires_in, wires_out = stats.get("inputs") or [], stats.get("outputs") or []
            drops = sum(wire.get("drops") or 0 for wire in (*wires_in, *wires_out))
            p50 = stats.get("p50_ms")
            yield (
                f"{flow['flow']}.{node['process']}",
                *((node.get("host") or "main",) if has_host else ()),
                node["state"],
                f"{stats.get('rate_hz') or 0:.0f}",
                str(stats.get("queue") or 0),
                str(drops),
                "" if p50 is None else f"{p50:.2f}",
                f"{node['cpu'] * 100:.1f}",
                f"{(stats.get('pss_bytes') or node['rss_bytes']) / 1e6:.0f}",
                *((_shared(stats),) if shares else ()),
                node["reason"] or node["badge"] or _forgotten(stats),
            )
        for one in flow.get("instances") or ():
            if one["text"]:
                blank = [""] * (6 + shares)
                host = ("",) if has_host else ()
                yield (f"{flow['flow']}.{one['instance']}", *host, "(subflow)", *blank, one["text"])


def _forgotten(stats: dict[str, Any]) -> str:
    held = len(stats.get("lingering") or [])
    return f"holds {held} tensor{'s' if held > 1 else ''} of messages that are done, without keep()" if held else ""


def draw(status: dict[str, Any]) -> Any:
    """The table, for rich."""
    from rich.text import Text

    from flowcore.cli import out

    heads = columns(status)
    at = heads.index("state")
    table = out.table(heads, (), NUMBERS)
    for row in rows(status):
        state = Text(row[at], style=_COLOURS.get(row[at], ""))
        table.add_row(row[0], *map(Text, row[1:at]), state, *map(Text, row[at + 1 :]))
    for flow in status["flows"]:
        if not flow["nodes"]:
            table.add_row(flow["flow"], *[""] * (at - 1), flow["wanted"])
    return table


def head(status: dict[str, Any]) -> str:
    """A line about the host, and one about each of the others."""
    host = status["host"]
    mqtt = f", MQTT {host['mqtt_port']}" if host["mqtt_port"] else ""
    lines = [f"flowcore {host['version']}: bus {host['url']}{mqtt}, data {host['folder']}"]
    for other in status.get("hosts") or ():
        nodes = f"{other['nodes']} node{'' if other['nodes'] == 1 else 's'}"
        there = f"{other['machine']}, flowcore {other['version']}" if other["connected"] else "not connected"
        lines.append(f"host {other['name']}: {there}, {nodes}")
    return "\n".join(lines)


def plain(status: dict[str, Any]) -> str:
    """The table as text with columns of their own width: what goes into a pipe or a log."""
    heads = columns(status)
    lines = [heads, *rows(status)]
    widths = [max(len(line[i]) for line in lines) for i in range(len(heads) - 1)]
    return "\n".join(
        "  ".join(
            [
                *(
                    cell.rjust(w) if heads[i] in NUMBERS else cell.ljust(w)
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
