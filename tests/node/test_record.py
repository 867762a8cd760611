"""The stored record: whole after a kill at any moment, fenced against whoever came late, and cheap to change."""

import random

import pytest

from flowcore.bus.envelope import pack
from flowcore.node import In, Node, Out, record
from flowcore.node.record import RecordStore, StateStale, pack_write
from flowcore.node.testing import MemoryStore, drive

KEY = "f.n"


class Hold(Node):
    """Keep each message; pass every other one on."""

    type = "test/hold"
    stateful = True
    in_ = In()
    out = Out()

    def on_message(self, message):
        self.state[f"{message.payload['n']}"] = message.payload
        return message.payload["n"] if message.payload["n"] % 2 else None


class Journal(MemoryStore):
    """Keeps what was stored after each single entry, as a kill at that moment leaves it."""

    def __init__(self):
        super().__init__()
        self.moments = []

    async def write(self, key, value, revision, below):
        written = await super().write(key, value, revision, below)
        self.moments.append(self.copy())
        return written


async def _write(store, values, gone, n, *, is_whole):
    packed = {key: pack(value) for key, value in values.items()}
    await store.save(pack_write(packed, gone, {"w": (1, n)}, [], {}, n), 1, n, is_whole=is_whole)


@pytest.mark.parametrize("seed", range(3))
async def test_after_a_kill_at_any_moment_the_record_is_one_that_was_written(seed, monkeypatch):
    """Records of many parts, changes, new generations, processes that begin again: never half, never an older one."""
    monkeypatch.setattr(record, "_PART", 300)
    monkeypatch.setattr(record, "_SMALL", 10)
    monkeypatch.setattr(record, "_LEAST_CHANGES", 700)
    rng, journal, values, n, newest = random.Random(seed), Journal(), {}, 0, 0
    written = {0: {}}
    store = RecordStore(journal, KEY)
    await store.load()
    for _ in range(90):
        if rng.random() < 0.1:  # killed, perhaps in the middle of a write; the next process goes on
            if rng.random() < 0.5 and journal.moments:
                kept = journal.moments[-rng.randint(1, min(3, len(journal.moments)))]
                journal.entries, journal._revision = dict(kept.entries), kept._revision
            store = RecordStore(journal, KEY)
            found = await store.load()
            values, n, newest = dict(found.values), max(written), found.n
            assert values == written[newest]
        n += 1
        changed = {f"k{rng.randrange(12)}": rng.randbytes(rng.randrange(120)) for _ in range(rng.randrange(4))}
        gone = [key for key in values if key not in changed and rng.random() < 0.1]
        values = {key: value for key, value in {**values, **changed}.items() if key not in gone}
        written[n] = dict(values)
        before = len(journal.moments)
        is_whole = not store.takes_change
        await _write(store, values if is_whole else changed, gone, n, is_whole=is_whole)
        for moment in journal.moments[before:]:
            found = await RecordStore(moment, KEY).load()
            assert found.n in (newest, n) and found.values == written[found.n]
            # Who comes next can write at once: it has seen the newest revision.
            successor = RecordStore(moment.copy(), KEY)
            await successor.load()
            await _write(successor, {"x": 1}, [], 10_000, is_whole=True)
        assert found.n == found.position == n
        newest = n
    assert len({key for key in journal.entries if key.startswith("f.n.b")}) > 3


async def test_who_writes_late_is_refused_whatever_it_writes(monkeypatch):
    """A process that was replaced can neither add a change nor begin anew."""
    monkeypatch.setattr(record, "_SMALL", 10)
    for is_whole in (True, False):
        memory = MemoryStore()
        old = RecordStore(memory, KEY)
        await old.load()
        await _write(old, {"a": "x" * 50}, [], 1, is_whole=True)
        new = RecordStore(memory, KEY)
        await new.load()
        await new.save(pack_write({"a": pack(2)}, [], {}, [], {}, None), 2, 1, is_whole=True)
        with pytest.raises(StateStale, match="written by process 2, this is 1"):
            await _write(old, {"a": 3}, [], 2, is_whole=is_whole)
        assert (await RecordStore(memory, KEY).load()).values == {"a": 2}


async def test_an_answer_that_was_lost_is_no_other_writer():
    """The entry is there and our own: go on."""

    class Forgets(MemoryStore):
        async def write(self, key, value, revision, below):
            await super().write(key, value, revision, below)
            return await super().write(key, value, revision, below)  # sent again, since no answer came

    memory = Forgets()
    store = RecordStore(memory, KEY)
    await store.load()
    for n in (1, 2, 3):
        await _write(store, {"a": n}, [], n, is_whole=True)
    assert (await store.load()).values == {"a": 3}


async def test_a_node_that_holds_much_writes_what_has_changed():
    """10,000 messages of 1 KB held: each further one costs about its own size, and a restart finds all of them."""
    store = MemoryStore()
    async with drive(Hold, store=store) as node:
        await node.put(*({"n": n, "pad": b"x" * 1000} for n in range(10_000)))
        before = store.bytes_written
        for n in range(10_000, 10_020):
            await node.put({"n": n, "pad": b"x" * 1000})
        assert store.bytes_written - before < 20 * 3000
        killed = store.copy()
    async with drive(Hold, store=killed) as node:
        assert len(node.node.state) == 10_020 and node.node.state["10019"]["n"] == 10_019


async def test_outputs_that_are_owed_are_in_changes_too():
    """What nobody has acked is found again once, under a record of many changes; what was acked is not."""
    memory = MemoryStore()
    store = RecordStore(memory, KEY)
    await store.load()

    def out(seq):
        return "out", pack({"epoch": 1, "seq": seq, "payload": seq})

    big = {"pad": pack(b"x" * 5000)}
    await store.save(pack_write(big, [], {}, [out(1), out(2)], {"out": [1, 2]}, None), 1, 1, is_whole=True)
    assert store.takes_change
    await store.save(pack_write({}, [], {}, [out(3), out(4)], {"out": [2, 3, 4]}, None), 1, 2, is_whole=False)
    await store.save(pack_write({}, ["pad"], {}, [out(5)], {"out": [2, 4, 5]}, None), 1, 3, is_whole=False)
    found = await RecordStore(memory, KEY).load()
    assert [envelope["payload"] for _, envelope in found.outbox] == [2, 4, 5] and found.values == {}
    other = RecordStore(memory, KEY)
    await other.save((await other.load()).packed(), 1, 4, is_whole=True)  # as the host does for `state put`
    assert [envelope["payload"] for _, envelope in (await other.load()).outbox] == [2, 4, 5]
