"""Tensors without copies: pools of slots in memory that processes share, and handles to them in messages.

    Pools      memory of this process that others may read; `alloc` gives a writable `Tensor`
    Readers    pools of other processes, opened at the first handle to one of their slots
    Tensor     what authors see
    Codec      packs messages with handles in them, and makes tensors of handles

Who holds a slot is known to the kernel alone: a reader has an OFD read lock on the slot's byte in the pool's file,
gone with its last descriptor, so with the process too. `ledger.py` has the rules.

Left to others: when a message is done (`flowcore.node`), and bytes that travel between hosts.
"""

from flowcore.buffers.codec import Codec
from flowcore.buffers.errors import BufferExpired, NoRoom
from flowcore.buffers.handle import Handle
from flowcore.buffers.lease import Lease
from flowcore.buffers.lingering import Lingering
from flowcore.buffers.matches import matches, mismatch
from flowcore.buffers.pools import Pools
from flowcore.buffers.readers import Readers
from flowcore.buffers.spilled import Spilled, parts
from flowcore.buffers.tensor import Tensor

__all__ = [
    "BufferExpired",
    "Codec",
    "Handle",
    "Lease",
    "Lingering",
    "NoRoom",
    "Pools",
    "Readers",
    "Spilled",
    "Tensor",
    "matches",
    "mismatch",
    "parts",
]
