"""Incarnations: one rising number for every node process that is ever started on a bus.

They order the epochs of the wires, so a node must never get one that is not above all it had: blocks of a thousand are
reserved, and fsynced, before the first of them is used; after a crash the rest of a block is skipped. A block is
reserved twice, in the data folder and, by compare-and-set, on the bus that other hosts may share: it begins above both.
So what a host starts after `renew` is above all that any host started before.
"""

import asyncio
import os
from pathlib import Path

from flowcore.bus.bucket import Bucket, BucketError, WrongRevision

BLOCK = 1000
_KEY = "incarnation"


class Incarnations:
    """The counter in `folder`/incarnation, and in `bucket` when one is given."""

    def __init__(self, folder: Path, bucket: Bucket | None = None) -> None:
        self._file, self._bucket = folder / "incarnation", bucket
        self._next = self._end = int(self._file.read_text()) if self._file.exists() else 1
        self._renewing: asyncio.Task[None] | None = None

    @property
    def last(self) -> int:
        """The highest that was given, or may have been."""
        return self._next - 1

    def next(self) -> int:
        """A number above all that this host gave before.

        With a bus that is away for more than a block of starts the numbers go on here; the next `renew` tells the bus.
        """
        if self._next >= self._end:
            self._reserve(self._next + BLOCK)
        if self._bucket is not None and self._end - self._next < BLOCK // 2 and self._renewing is None:
            self._renewing = asyncio.get_running_loop().create_task(self._renew_ahead())
        self._next += 1
        return self._next - 1

    async def renew(self, above: int = 0) -> None:
        """Go on with a block above `above` and all that any host on the bus has reserved so far.

        Raises:
            BucketError, TimeoutError: the bus does not answer; the numbers go on as they were.
        """
        if self._bucket is None:
            return
        while True:
            entry = await self._bucket.get(_KEY)
            reserved = int(entry.value) if entry is not None and entry.value else 1
            begin = max(reserved, self._next, above + 1)
            try:
                await self._bucket.put(_KEY, str(begin + BLOCK).encode(), entry.revision if entry else 0)
            except WrongRevision:  # another host was quicker
                continue
            self._reserve(max(begin + BLOCK, self._end))
            self._next = max(begin, self._next)
            return

    async def _renew_ahead(self) -> None:
        try:
            await self.renew()
        except (BucketError, TimeoutError):
            await asyncio.sleep(1.0)  # the bus is away; asked again with the next process
        finally:
            self._renewing = None

    def _reserve(self, end: int) -> None:
        new = self._file.with_suffix(".new")
        with new.open("w") as file:
            file.write(str(end))
            file.flush()
            os.fsync(file.fileno())
        new.replace(self._file)
        folder = os.open(self._file.parent, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)
        self._end = end
