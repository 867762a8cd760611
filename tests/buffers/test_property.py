"""Any order of sending, passing on, keeping, letting go and dying: no slot is written while somebody may read it.

The processes of this model are codecs of one process, each with descriptors of its own: to the kernel's locks that is
the same. One dies by having its descriptors closed under it, as `kill -9` does.
"""

import contextlib
import os

import numpy as np
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from flowcore.buffers import BufferExpired, Codec, NoRoom, Pools, Readers, Tensor
from flowcore.buffers.lease import Slots

_SHAPE = (5, 4096)  # a slot of 20 KiB
_SLOTS = 6
_WHO, _ANY = st.integers(0, 3), st.integers(0, 1 << 16)


class Process:
    """A codec, what its process has in its hands, and what it has sent and not seen acked."""

    def __init__(self) -> None:
        self.codec = Codec(Pools(_SLOTS * 20 * 1024), Readers())
        self.tensors: list[tuple[Tensor, int]] = []  # and what was written into it
        self.views: list[tuple[np.ndarray, int]] = []
        self.sent: list[tuple[bytes, tuple, int]] = []  # packed, what it holds, what was written

    def die(self) -> None:
        """Its descriptors and mappings are closed by the kernel; what refers to them does nothing more."""
        self.views.clear()
        opened = [*self.codec.pools.by_id.values(), *self.codec.readers._pools.values()]
        for pool in opened:
            close_under(pool)


def close_under(pool: Slots) -> None:
    """Close a pool's descriptors without letting go of its leases first."""
    pool._pid = 0
    ledger = pool.ledger
    ledger.generations.release()
    ledger._flags.release()
    ledger._whole.release()
    ledger.map.close()
    os.close(ledger.fd)


class Buffers(RuleBasedStateMachine):
    """Some processes, all of which make, read and pass on tensors."""

    @initialize(processes=st.integers(2, 4))
    def start(self, processes: int) -> None:
        """All begin empty."""
        self.processes = [Process() for _ in range(processes)]
        self.written = 0
        self.wire: list[tuple[bytes, int]] = []  # what was ever sent: may be delivered late, or twice

    def process(self, number: int) -> Process:
        """One of them."""
        return self.processes[number % len(self.processes)]

    @rule(who=_WHO, to=st.lists(_WHO, max_size=3), as_view=st.booleans(), keeps=st.booleans())
    def make(self, who: int, to: list[int], as_view: bool, keeps: bool) -> None:
        """Allocate, write, send to some."""
        process = self.process(who)
        try:
            tensor = process.codec.pools.alloc(_SHAPE, "uint8")
        except NoRoom:
            return
        self.written += 1
        tensor.numpy()[...] = self.written % 251
        self.send(process, tensor, self.written % 251, to, as_view)
        if keeps:
            process.tensors.append((tensor, self.written % 251))

    @rule(acked=_WHO)
    def acks(self, acked: int) -> None:
        """All that one has sent is done."""
        self.process(acked).sent.clear()
        self.write_all()

    def write_all(self) -> None:
        """Producers come around: whatever may be written now is, and sent to nobody."""
        for process in self.processes:
            writing = []
            with contextlib.suppress(NoRoom):
                while True:
                    writing.append(process.codec.pools.alloc(_SHAPE))
                    writing[-1].numpy()[...] = 255
            process.codec.pack(writing)
            assert len(process.codec.taken) == len(writing)

    @rule(who=_WHO)
    def fail_to_send(self, who: int) -> None:
        """Something in the message cannot be packed: the slot is free again."""
        process = self.process(who)
        before = process.codec.pools.stats()
        try:
            process.codec.pack([np.ones(_SHAPE, np.uint8), {1}])
        except TypeError:
            assert sum(pool["used"] for pool in before) == sum(pool["used"] for pool in process.codec.pools.stats())
        except NoRoom:
            pass

    def send(self, process: Process, tensor: Tensor, content: int, to: list[int], as_view: bool) -> None:
        """Pack, keep until it is acked, deliver."""
        data = process.codec.pack({"frame": tensor})
        process.sent.append((data, process.codec.taken, content))
        self.wire.append((data, content))
        for who in to:
            self.deliver(self.process(who), data, content, as_view)

    def deliver(self, process: Process, data: bytes, content: int, as_view: bool) -> None:
        """Decode; what is owed by a process that lives is there."""
        tensor = process.codec.unpack(data)["frame"]
        is_owed = any(data == packed for sender in self.processes for packed, _, _ in sender.sent)
        assert tensor.state == "sealed" or not is_owed, "un-acked, and could not be read"
        if tensor.state == "expired":
            return
        if as_view:
            process.views.append((tensor.numpy()[2:], content))
        else:
            process.tensors.append((tensor, content))

    @precondition(lambda self: self.wire)
    @rule(who=_WHO, which=_ANY, as_view=st.booleans())
    def deliver_late(self, who: int, which: int, as_view: bool) -> None:
        """To anyone, any one ever sent: perhaps again, perhaps long after it was acked."""
        self.deliver(self.process(who), *self.wire[which % len(self.wire)], as_view)

    @precondition(lambda self: any(process.tensors for process in self.processes))
    @rule(who=_WHO, which=_ANY, to=st.lists(_WHO, max_size=3), as_view=st.booleans())
    def pass_on(self, who: int, which: int, to: list[int], as_view: bool) -> None:
        """A tensor in somebody's hands is sent again."""
        having = [process for process in self.processes if process.tensors]
        process = having[who % len(having)]
        self.send(process, *process.tensors[which % len(process.tensors)], to, as_view)

    @rule(who=_WHO, which=_ANY, what=st.sampled_from(["tensors", "views", "sent"]))
    def let_go(self, who: int, which: int, what: str) -> None:
        """A message is done, a view is dropped, an output is acked."""
        held = getattr(self.process(who), what)
        if held:
            held.pop(which % len(held))
            self.write_all()

    @rule(who=_WHO, which=_ANY)
    def release(self, who: int, which: int) -> None:
        """An author lets go at once."""
        tensors = self.process(who).tensors
        if tensors:
            tensor, _ = tensors.pop(which % len(tensors))
            tensor.release()
            try:
                tensor.numpy()
            except BufferExpired:
                return
            raise AssertionError("a released tensor still shows its bytes")

    @rule(who=_WHO)
    def die(self, who: int) -> None:
        """One is killed, another takes its place; what it had sent is owed no more."""
        number = who % len(self.processes)
        self.processes[number].die()
        self.processes[number] = Process()
        self.write_all()

    @rule(who=_WHO, now_s=st.floats(0, 1e6))
    def trim(self, who: int, now_s: float) -> None:
        """The second's round, at any time."""
        process = self.process(who)
        process.codec.pools.trim(now_s)
        process.codec.readers.trim(now_s)

    @invariant()
    def everyone_sees_what_was_written(self) -> None:
        """Never something else, however many slots were written since."""
        for process in getattr(self, "processes", ()):
            for tensor, content in process.tensors:
                assert (tensor.numpy() == content).all()
            for view, content in process.views:
                assert (view == content).all()

    def teardown(self) -> None:
        """With everything let go, every slot of every process can be written again."""
        processes = getattr(self, "processes", [])
        for process in processes:
            for held in (process.tensors, process.views, process.sent):
                held.clear()
        for process in processes:
            assert all(pool["used"] == pool["waiting"] == 0 for pool in process.codec.pools.stats())
            assert not any(pool.used for pool in process.codec.readers._pools.values())
        for process in processes:
            assert len([process.codec.pools.alloc(_SHAPE) for _ in range(_SLOTS)]) == _SLOTS
            process.die()


Buffers.TestCase.settings = settings(max_examples=100, stateful_step_count=80, deadline=None)
TestBuffers = Buffers.TestCase
