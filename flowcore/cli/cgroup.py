"""What a container, or whoever made the control group, allows beside what the machine has."""

from pathlib import Path

_ROOT = Path("/sys/fs/cgroup")
_ENDLESS = 1 << 60  # the first version of control groups says "no limit" with a huge number


def memory_limit() -> int | None:
    """Bytes of memory; None without a limit."""
    return _smallest("memory.max", "memory/memory.limit_in_bytes")


def process_limit() -> int | None:
    """Processes and threads; None without a limit."""
    return _smallest("pids.max", "pids/pids.max")


def _smallest(*files: str) -> int | None:
    found = []
    for file in files:
        try:
            found.append(int((_ROOT / file).read_text()))
        except (OSError, ValueError):  # not there, or "max"
            continue
    return min((limit for limit in found if limit < _ENDLESS), default=None)
