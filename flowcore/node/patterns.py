"""Regular expressions with a time limit: a user's pattern must not stop a node.

Most searches take microseconds and run where they are; one that takes longer is begun again in a thread that lets
others run, until its limit.

    PatternTimeout      the search took longer than its limit
"""

import asyncio
from collections.abc import Callable
from typing import Any

import regex

_QUICK_S = 0.005


class PatternTimeout(TimeoutError):
    """A regular expression was not done within its time limit."""


class Pattern:
    """A compiled regular expression (syntax of Python's `re`, plus what the `regex` package adds).

    Args:
        text: the expression.
        ignore_case: letters match in both cases.
        limit_s: seconds one search may take.
    Raises:
        ValueError: not a regular expression; says what is wrong and where.
    """

    def __init__(self, text: str, *, ignore_case: bool = False, limit_s: float = 1.0) -> None:
        self.text, self.limit_s = text, limit_s
        try:
            self._compiled = regex.compile(text, regex.IGNORECASE if ignore_case else 0)
        except (regex.error, RecursionError, OverflowError) as e:
            raise ValueError(f"regular expression {text!r}: {e}") from None

    async def matches(self, text: str) -> bool:
        """True when the expression is found somewhere in `text`."""
        return await self._run(self._compiled.search, text) is not None

    async def replace(self, text: str, replacement: str) -> str:
        r"""`text` with every match replaced; `\1` or `\g<name>` stand for groups."""
        return await self._run(self._compiled.sub, replacement, text)

    async def _run(self, function: Callable[..., Any], *args: Any) -> Any:
        try:
            return function(*args, timeout=min(_QUICK_S, self.limit_s))
        except TimeoutError:
            pass
        try:
            return await asyncio.to_thread(function, *args, timeout=self.limit_s, concurrent=True)
        except TimeoutError:
            raise PatternTimeout(f"regular expression {self.text!r} took longer than {self.limit_s:g} s") from None
