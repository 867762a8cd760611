"""What node processes hand over when the host stops: kept in the data folder until their successors have it."""

import os
from pathlib import Path


class Handovers:
    """Files in `folder`/handover, one a process."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder / "handover"

    def keep(self, flow: str, process: str, handover: bytes) -> None:
        """Store one, through to the disk."""
        path = self._path(flow, process)
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        new = path.with_suffix(".new")
        with new.open("wb") as file:
            file.write(handover)
            file.flush()
            os.fsync(file.fileno())
        new.replace(path)

    def read(self, flow: str, process: str) -> bytes | None:
        """The one that is kept; it stays until `forget`."""
        try:
            return self._path(flow, process).read_bytes()
        except FileNotFoundError:
            return None

    def kept(self, flow: str) -> list[str]:
        """The processes of a flow for which one is kept."""
        return sorted(path.name.removesuffix(".handover") for path in (self._folder / flow).glob("*.handover"))

    def forget(self, flow: str, process: str) -> None:
        """Its successor has it."""
        self._path(flow, process).unlink(missing_ok=True)

    def _path(self, flow: str, process: str) -> Path:
        # Ids have no dot, so the one at the end is ours; `:` and `#` are no trouble on Linux.
        return self._folder / flow / f"{process}.handover"
