"""What waits for its bytes while its sender dies: the order of what was there already, and of what comes again."""

import asyncio
from types import SimpleNamespace

from flowcore.runtime.fetch_lanes import Lanes


class Wire:
    """A wire, and the epoch of the process that feeds it."""

    delivery, epoch = "reliable", 1


class Part:
    """A tensor on another host."""

    def __init__(self) -> None:
        self.state, self.handle, self.here = "remote", SimpleNamespace(nbytes=100), asyncio.Event()


class Item:
    """A message of a wire as its sender's process of this epoch sent it."""

    def __init__(self, wire, number: int, *parts: Part) -> None:
        self.wire, self.epoch, self.number, self.is_done = wire, wire.epoch, number, False
        self.envelope = {"unresolved": list(parts)}

    def one_done(self) -> None:
        self.is_done = True


async def test_what_is_behind_a_message_that_comes_again_comes_again_too():
    """The second's bytes are not here when its sender's successor takes over, the third's are: 1, then 2, 3 anew."""
    delivered = asyncio.Queue()

    async def fetch(part, item):
        await part.here.wait()
        part.state = "private"

    lanes = Lanes(fetch, None, lambda items: [delivered.put_nowait(item) for item in items], lambda wire: True)
    wire = Wire()
    old = [Item(wire, number, Part()) for number in (1, 2, 3)]
    lanes.take(old)
    for item in (old[2], old[0]):
        item.envelope["unresolved"][0].here.set()
    assert await delivered.get() is old[0] and old[2].envelope["unresolved"][0].state == "private"
    wire.epoch = 2
    new = [Item(wire, number, Part()) for number in (2, 3)]
    for item in new:
        item.envelope["unresolved"][0].here.set()
    lanes.take(new)
    assert [await delivered.get(), await delivered.get()] == new
    assert [item.is_done for item in old] == [False, True, True]
    lanes.close()
