"""Time zones in configs."""

from typing import Annotated
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from pydantic import AfterValidator


def zone(name: str) -> ZoneInfo:
    """The zone of that name.

    Raises:
        ValueError: there is none.
    """
    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        raise ValueError(f"no time zone {name!r}; write it as Europe/Berlin or UTC") from None


def _named(name: str) -> str:
    zone(name)
    return name


TimeZone = Annotated[str, AfterValidator(_named)]
"""The type of a config field with the name of a zone."""
