"""Values given on the command line."""

import json
import sys
from typing import Any

from flowcore.cli.out import Misused


def parsed(text: str) -> Any:
    """A JSON value from an argument; `-` reads it from standard input.

    Raises:
        Misused: not JSON.
    """
    if text == "-":
        text = sys.stdin.read()
    try:
        return json.loads(text, parse_constant=_no_constant)
    except (ValueError, RecursionError) as e:
        do = f"""Text needs quotes of its own: '{json.dumps(text)}'""" if not text.startswith(("{", "[")) else ""
        raise Misused(f"not JSON: {e}", do) from None


def _no_constant(name: str) -> Any:
    raise ValueError(f"{name} is no JSON number")


def seconds_ago(text: str) -> float:
    """Seconds from `90`, `90s`, `10m`, `2h` or `1d`.

    Raises:
        Misused: none of these.
    """
    units = {"s": 1, "m": 60, "h": 3600, "d": 86400}
    number, unit = (text[:-1], text[-1]) if text and text[-1] in units else (text, "s")
    try:
        value = float(number)
    except ValueError:
        raise Misused(f"{text!r} is no time", "For example: 90s, 10m, 2h, 1d") from None
    if not 0 <= value < 1e9:
        raise Misused(f"{text!r} is no time ago", "For example: 90s, 10m, 2h, 1d")
    return value * units[unit]
