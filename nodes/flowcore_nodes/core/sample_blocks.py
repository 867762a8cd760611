"""The last samples of a series, in a node's state: in blocks, so that one sample more writes one small entry.

A row has one number a channel. Block n holds the rows 64 n to 64 n + 63, counted from the first there ever was.
"""

from collections.abc import MutableMapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np

_ROWS = 64


class SampleBlocks:
    """The samples of one series: rows `first` to `end` - 1 are there."""

    def __init__(self, state: MutableMapping[str, Any], key: str, channels: int, first: int, end: int) -> None:
        self._state, self._key, self._channels = state, key, channels
        self.first, self.end = first, end

    def append(self, rows: "np.ndarray") -> None:
        """Rows more, (n, channels) float64."""
        done = 0
        while done < len(rows):
            block, used = divmod(self.end, _ROWS)
            part = rows[done : done + _ROWS - used].tobytes()
            before = self._state[self._name(block)] if used and self.end > self.first else b""
            if used and not before:  # what was before it is forgotten
                before = bytes(used * self._channels * 8)
            self._state[self._name(block)] = before + part
            count = len(part) // (8 * self._channels)
            done += count
            self.end += count

    def read(self, first: int, end: int) -> "np.ndarray":
        """Rows `first` to `end` - 1, (n, channels) float64."""
        import numpy as np

        begin = first // _ROWS
        blocks = [self._state[self._name(block)] for block in range(begin, -(-end // _ROWS))]
        rows = np.frombuffer(b"".join(blocks), np.float64).reshape(-1, self._channels)
        return rows[first - begin * _ROWS : end - begin * _ROWS]

    def forget(self, before: int) -> None:
        """Rows before this one are not needed any more."""
        before = min(before, self.end)
        for block in range(self.first // _ROWS, before // _ROWS):
            self._state.pop(self._name(block), None)
        if before == self.end:
            self._state.pop(self._name(self.end // _ROWS), None)
        self.first = max(self.first, before)

    def _name(self, block: int) -> str:
        return f"b:{block}:{self._key}"
