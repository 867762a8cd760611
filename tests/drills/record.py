"""What arrived: the file that a `core/file-out` writes, one JSON value a line, judged against what was sent."""

import json
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.drills.drill import Findings
from tests.drills.runtime import PATIENCE_S, until


@dataclass(frozen=True)
class Judged:
    """Numbers that arrived, against those expected: lost ones, further copies, and first copies out of order."""

    arrived: int
    lost: int
    twice: int
    out_of_order: int
    foreign: int

    def into(self, findings: Findings, *, in_order: bool = True) -> None:
        """Enter the figures; what is lost, foreign, or out of order where that was promised, is a fault."""
        findings.add(arrived=self.arrived, lost=self.lost, twice=self.twice, out_of_order=self.out_of_order)
        findings.expect(not self.lost, f"{self.lost} lost")
        findings.expect(not self.foreign, f"{self.foreign} arrived that nobody sent")
        findings.expect(not self.out_of_order or not in_order, f"{self.out_of_order} out of order")


def judge(numbers: Sequence[int], expected: Iterable[int]) -> Judged:
    """Compare what arrived, in its order, with what was sent, in its order."""
    place = {number: i for i, number in enumerate(expected)}
    firsts = list(dict.fromkeys(numbers))
    known = [place[number] for number in firsts if number in place]
    newest, out_of_order = -1, 0
    for i in known:
        out_of_order += i < newest
        newest = max(newest, i)
    lost, foreign = len(place) - len(known), len(firsts) - len(known)
    return Judged(len(known), lost, len(numbers) - len(firsts), out_of_order, foreign)


class Record:
    """A file of JSON lines that grows."""

    def __init__(self, path: Path, number: Callable[[Any], int] = int) -> None:
        self.path, self.values = path, list[Any]()
        self._number, self._seen = number, set[int]()
        self._read = 0

    @property
    def numbers(self) -> list[int]:
        """All numbers, in their order in the file, copies among them."""
        self.read()
        return [self._number(value) for value in self.values]

    def read(self) -> int:
        """Read on; returns how many different numbers there are."""
        if self.path.exists():
            with self.path.open("rb") as file:
                file.seek(self._read)
                whole, _, _ = file.read().rpartition(b"\n")
            if whole:
                self._read += len(whole) + 1
                new = [json.loads(line) for line in whole.split(b"\n") if line]
                self.values += new
                self._seen.update(map(self._number, new))
        return len(self._seen)

    async def until(self, count: int, timeout_s: float = PATIENCE_S) -> None:
        """Wait for so many different numbers.

        Raises:
            TimeoutError: none came for `timeout_s`; says how many did, and which is the first missing.
        """
        while (before := self.read()) < count:
            try:
                await until(lambda before=before: self.read() > before, "progress", timeout_s=timeout_s, every_s=0.02)
            except TimeoutError:
                missing = next(n for n in range(1, count + 2) if n not in self._seen)
                what = f"{before} of {count} numbers, and none new for {timeout_s:.0f} s"
                raise TimeoutError(f"{what}; the first missing is {missing}") from None
