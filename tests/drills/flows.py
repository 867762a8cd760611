"""Flow documents and inputs for drills."""

from pathlib import Path
from typing import Any

from flowcore.bench.documents import flow, row_of

__all__ = ["chain", "file_in", "file_out", "flow", "line", "numbers_file"]


def numbers_file(folder: Path, count: int) -> Path:
    """A file with the numbers 1 to `count`, one a line."""
    path = folder / f"numbers-{count}.txt"
    path.write_text("".join(f"{n}\n" for n in range(1, count + 1)))
    return path


def file_in(path: Path, rate_hz: float | None = None) -> dict[str, Any]:
    """A source that keeps its place in a file; `rate_hz` slows it down so that there is something under way."""
    settings = {"full": "throttle", "throttle_hz": rate_hz} if rate_hz else {}
    return {"type": "core/file-in", "config": {"path": str(path)}, "settings": settings}


def file_out(path: Path) -> dict[str, Any]:
    """A sink that writes each payload as a line of JSON."""
    return {"type": "core/file-out", "config": {"path": str(path)}}


def chain(id_: str, source: dict[str, Any], out: Path, *middle: dict[str, Any] | str) -> dict[str, Any]:
    """`read` -> `step1` -> `step2` ... -> `write`, by reliable wires; steps have the ports `in` and `out`."""
    steps = {f"step{k}": node for k, node in enumerate(middle, 1)}
    return flow(id_, {"read": source, **steps, "write": file_out(out)}, row_of(["read", *steps, "write"]))


def line(id_: str, path: Path, out: Path, rate_hz: float | None = None) -> dict[str, Any]:
    """The reliable chain of four nodes that most drills use: file in, change, json, file out; numbers go through."""
    return chain(id_, file_in(path, rate_hz), out, "core/change", "core/json")
