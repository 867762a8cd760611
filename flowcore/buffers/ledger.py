"""The first pages of a pool's file: header, a generation for each slot, and who holds what, as locks on its bytes.

    0      magic, version, pool id, slots, bytes of a slot, offset of the data, closed, scarce, device, device handle
    4096   generation of each slot, u64: odd while it is written, even once sealed
    ...    64 bytes for each slot where the device is not the host: an event that orders its streams
    ...    page-aligned data; none where it lies on a device

The lock of a slot is byte number `slot` of the file (open file description locks: `fcntl(2)`, F_OFD_SETLK):

- A reader takes the read lock, then checks the generation, and unlocks when nothing in its process refers to the slot.
- The owner writes a slot only when nothing in its own process refers to it and it has the write lock, which it gives
  back when it seals. Until the reader has its lock, what the owner keeps of the un-acked message refers to the slot.
- The kernel drops the locks of a process that ends, in whichever way. Nothing has to be told to anyone.

The owner maps the file writable, then seals it: nobody else can write to it, or cut it short under a reader.
"""

import fcntl
import functools
import mmap
import os
import struct

from flowcore.buffers import files
from flowcore.buffers.place import Place, own

PAGE = 4096
MAX_SLOTS = 1 << 16
DEVICE_HANDLE_BYTES, EVENT_BYTES = 256, 64
_HEAD = struct.Struct("=8sQQQQQ")  # magic, version, pool, slots, slot bytes, data offset
_CLOSED, _SCARCE, _DEVICE, _DEVICE_HANDLE = 48, 56, 64, 128
_MAGIC, _VERSION = b"FLOWPOOL", 1
_FLOCK = struct.Struct("hhqqi4x")  # struct flock of 64 bit Linux: type, whence, start, length, pid
_flock = functools.lru_cache(maxsize=1024)(_FLOCK.pack)


def lock(fd: int, kind: int, start: int, length: int = 1) -> bool:
    """Lock bytes of a file for its open file description, or unlock them; False while another one has them."""
    try:
        fcntl.fcntl(fd, fcntl.F_OFD_SETLK, _flock(kind, os.SEEK_SET, start, length, 0))
    except (BlockingIOError, PermissionError):  # EAGAIN or EACCES, POSIX allows both
        return False
    return True


def data_offset(slots: int, device: str) -> int:
    """Where the data begins, in bytes."""
    size = PAGE + slots * (8 if device == "cpu" else 8 + EVENT_BYTES)
    return -(-size // PAGE) * PAGE


class Ledger:
    """One pool's file, mapped: `create` it as owner, `open` it as reader.

    Attributes:
        generations: of each slot, as it is now; set by the owner alone, with the write lock.
    """

    def __init__(self, fd: int, place: Place, mapped: mmap.mmap, *, is_own: bool) -> None:
        _, _, self.pool, self.slots, self.slot_bytes, self.data_offset = _HEAD.unpack_from(mapped)
        self.device = bytes(mapped[_DEVICE : _DEVICE + 32]).rstrip(b"\0").decode("ascii")
        self.fd = fd
        self.place = place  # the descriptor as this process names it to others
        self.map = mapped
        self.is_own = is_own
        self._whole = memoryview(mapped)
        self.generations = self._whole[PAGE : PAGE + 8 * self.slots].cast("Q")
        self._flags = self._whole[_CLOSED:_DEVICE].cast("Q")

    @classmethod
    def create(cls, pool: int, slots: int, slot_bytes: int, device: str = "cpu") -> "Ledger":
        """A new pool of this process.

        Raises:
            OSError: the system has no memory or no descriptor for it.
        """
        offset = data_offset(slots, device)
        size = offset + (slots * slot_bytes if device == "cpu" else 0)
        fd = files.create(pool, size)
        try:
            mapped = mmap.mmap(fd, size)
            _HEAD.pack_into(mapped, 0, _MAGIC, _VERSION, pool, slots, slot_bytes, offset)
            mapped[_DEVICE : _DEVICE + len(device)] = device.encode("ascii")
            files.seal(fd)
            return cls(fd, Place(*own(), fd), mapped, is_own=True)
        except BaseException:
            os.close(fd)
            raise

    @classmethod
    def open(cls, pool: int, place: Place) -> "Ledger":
        """A pool of another process, through a descriptor that it or a reader of it has.

        Raises:
            FileNotFoundError, ProcessLookupError: it is gone, or what is there is something else.
            OSError: it cannot be opened.
        """
        fd = files.open_foreign(pool, place)
        try:
            size = os.fstat(fd).st_size
            if size < PAGE:
                raise FileNotFoundError("a file that is no pool")
            mapped = mmap.mmap(fd, size, prot=mmap.PROT_READ)
            try:
                _check(mapped, pool, size)
                return cls(fd, Place(*own(), fd), mapped, is_own=False)
            except BaseException:
                mapped.close()
                raise
        except BaseException:
            os.close(fd)
            raise

    def close(self) -> None:
        """Unmap; every lock of this process on it is gone."""
        self.generations.release()
        self._flags.release()
        self._whole.release()
        self.map.close()
        os.close(self.fd)
        if self.is_own:
            files.remove(self.pool)

    # What it says

    @property
    def is_closed(self) -> bool:
        """Whether its owner will not use it again."""
        return self._flags[0] != 0

    def set_closed(self) -> None:
        """Owner only."""
        self._flags[0] = 1

    @property
    def is_scarce(self) -> bool:
        """Whether a quarter of what its owner may share is free, or less."""
        return self._flags[1] != 0

    def set_scarce(self, is_scarce: bool) -> None:
        """Owner only."""
        self._flags[1] = is_scarce

    def device_handle(self) -> memoryview:
        """256 bytes for what opens the data's memory in another process, where the device is not the host."""
        return self._whole[_DEVICE_HANDLE : _DEVICE_HANDLE + DEVICE_HANDLE_BYTES]

    def event_handle(self, slot: int) -> memoryview:
        """64 bytes for the event of a slot, where the device is not the host."""
        start = PAGE + 8 * self.slots + EVENT_BYTES * slot
        return self._whole[start : start + EVENT_BYTES]

    # Locks

    def lock_read(self, slot: int) -> bool:
        """Hold a slot; False while its owner writes it."""
        return lock(self.fd, fcntl.F_RDLCK, slot)

    def lock_write(self, slot: int, slots: int = 1) -> bool:
        """Owner only: False while another process holds one of the slots."""
        return lock(self.fd, fcntl.F_WRLCK, slot, slots)

    def unlock(self, slot: int, slots: int = 1) -> None:
        """Let go."""
        lock(self.fd, fcntl.F_UNLCK, slot, slots)

    def is_held(self, slot: int) -> bool:
        """Owner only: whether another process holds a slot."""
        asked = _FLOCK.pack(fcntl.F_WRLCK, os.SEEK_SET, slot, 1, 0)
        return _FLOCK.unpack(fcntl.fcntl(self.fd, fcntl.F_OFD_GETLK, asked))[0] != fcntl.F_UNLCK


def _check(mapped: mmap.mmap, pool: int, size: int) -> None:
    magic, version, id_, slots, slot_bytes, offset = _HEAD.unpack_from(mapped)
    if magic != _MAGIC or version != _VERSION or id_ != pool:
        raise FileNotFoundError("another pool by now")
    device = bytes(mapped[_DEVICE : _DEVICE + 32]).rstrip(b"\0")
    if not device.isascii() or not 0 < slots <= MAX_SLOTS or slot_bytes % PAGE:
        raise FileNotFoundError("a file that is no pool")
    needed = data_offset(slots, device.decode("ascii"))
    if offset != needed or size < needed + (slots * slot_bytes if device == b"cpu" else 0):
        raise FileNotFoundError("a file that is no pool")
