"""Units by their names, with pint. What outsiders send as a unit is read by rules of our own before pint sees it.

pint works an expression out as it reads it, powers of powers included: "m**9**9**9" would never come to an end.
"""

from __future__ import annotations

import difflib
import functools
import re
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pint import Unit, UnitRegistry

_NAME = r"(?:[^\W\d]|[°%‰µΩÅ'\"])[\w°]*"
_POWER = r"(?:\s*(?:\*\*|\^)\s*[+-]?\d{1,2}|⁻?[⁰¹²³⁴-⁹])?"
_FACTOR = rf"(?:{_NAME}{_POWER}|1)"
_UNIT = re.compile(rf"\s*{_FACTOR}(?:\s*(?:[*/·]|\s)\s*{_FACTOR}){{0,9}}\s*")
_QUANTITY = re.compile(r"\s*([+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d{1,3})?)\s*(\S.*)")
_LONGEST = 100


class BadUnit(ValueError):
    """No unit, or one that does not measure the same as the other."""


@functools.cache
def registry() -> UnitRegistry:
    """pint's units, once a process: reading their definitions takes a moment."""
    from pint import UnitRegistry

    return UnitRegistry()


@functools.lru_cache(4096)
def unit_of(name: str) -> Unit:
    """The unit of a name or an expression such as `m³/h`.

    Raises:
        BadUnit: there is none; says the nearest.
    """
    if len(name) > _LONGEST or not _UNIT.fullmatch(name):
        raise BadUnit(f"{name[:_LONGEST]!r} is no unit; write it as m/s, m³/h, N*m or kg*m**2")
    try:
        return registry().parse_units(name.replace("·", "*"))
    except Exception as e:  # pint lets pass whatever its tokenizer raises
        unknown = getattr(e, "unit_names", None)
        wanted = unknown if isinstance(unknown, str) else unknown[0] if unknown else name
        near = difflib.get_close_matches(wanted, list(registry()), 1)
        hint = f"; did you mean {near[0]!r}?" if near else ""
        raise BadUnit(f"{wanted!r} is no unit that is known{hint}") from None


def checked_pair(*names: str) -> None:
    """Check units where pint is installed; without it nothing runs anyhow.

    Raises:
        ValueError: one is no unit, or two do not measure the same.
    """
    try:
        registry()
    except ImportError:
        return
    units = [unit_of(name) for name in names]
    if len(units) == 2:
        _check_same(*units)


def convert(value: Any, from_unit: Any, to_unit: Any) -> Any:
    """A number or an array of numbers in another unit.

    Raises:
        BadUnit: no units, or they do not measure the same.
    """
    for unit in (from_unit, to_unit):
        if not isinstance(unit, str) or not unit:
            raise BadUnit(f"a unit is needed, got {str(unit)[:40]!r}")
    source, target = unit_of(from_unit), unit_of(to_unit)
    _check_same(source, target)
    source, target = _in_turns(source, target), _in_turns(target, source)
    try:
        return registry().convert(value, source, target)
    except (ArithmeticError, ValueError, TypeError) as e:
        raise BadUnit(f"can't convert from {from_unit} to {to_unit}: {e}") from None


def quantity_of(text: Any) -> tuple[float, str]:
    """The number and the unit of a text such as "20.5 °C".

    Raises:
        BadUnit: it is none.
    """
    found = _QUANTITY.fullmatch(text) if isinstance(text, str) and len(text) <= _LONGEST else None
    if found is None:
        raise BadUnit(f"a text with a number and its unit is needed, got {str(text)[:40]!r}")
    return float(found[1]), found[2].strip()


def _in_turns(unit: Unit, other: Unit) -> Unit:
    """Hertz beside an angle are turns a second: a radian has no dimension, so that 60 rpm would be 6.28 Hz."""
    hertz = sum(power for name, power in unit._units.items() if name.endswith("hertz"))
    if not hertz or "radian" not in registry().get_root_units(other)[1]._units:
        return unit
    return unit * registry().turn ** hertz


def _check_same(source: Unit, target: Unit) -> None:
    if source.dimensionality != target.dimensionality:
        kinds = f"{source.dimensionality or 'no dimension'} and {target.dimensionality or 'no dimension'}"
        raise BadUnit(f"{source} and {target} do not measure the same: {kinds}")
