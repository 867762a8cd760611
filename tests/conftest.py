"""For all tests: how they share a machine when several run at once (`make test`, by pytest-xdist).

A file's tests run one after the other in one process; files run side by side. A test marked `alone` measures time, or
looks at what all processes share: while it runs no other does. The longest files begin first, or the end would wait for
one of them. A test that hangs is ended after ten minutes, with the tasks that are left, and the others go on.
"""

import asyncio
import fcntl
import os
import signal
import tempfile
from collections.abc import Iterator
from pathlib import Path

# Imported first: pytest rewrites hypothesis when it is imported, and on Python 3.11 a ResourceWarning that the garbage
# collector shows meanwhile breaks the parser (python/cpython#106905). At the start there is no garbage yet.
import hypothesis  # noqa: F401
import pytest

os.environ.setdefault("FLOWCORE_EDITOR", "0")  # a process less for each runtime; tests/gateway and tests/e2e have it

_LONGEST_S = 600  # of one test; the longest on two busy cores takes two minutes
LONGEST = ("test_drills.py", "test_readme.py", "test_model.py", "test_schedules.py", "test_install.py", "test_hosts.py")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The longest files first; the order is otherwise that of the folders."""
    items.sort(key=lambda item: LONGEST.index(item.path.name) if item.path.name in LONGEST else len(LONGEST))


@pytest.fixture
async def host(tmp_path):
    """A host with its embedded servers on free ports."""
    from flowcore.runtime.host import Host
    from flowcore.runtime.options import HostOptions

    made = Host(HostOptions(folder=tmp_path / "data", nats_port=0, mqtt_port=0, drain_s=2.0))
    await made.start()
    yield made
    await made.stop()


def _hangs(*_: object) -> None:
    known = getattr(asyncio.tasks, "_all_tasks", None) or getattr(asyncio.tasks, "_scheduled_tasks", ())
    tasks = [repr(task) for task in list(known) if not task.done()]
    raise TimeoutError("\n".join([f"not through after {_LONGEST_S} s; its tasks:", *tasks]))


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_runtest_protocol(item: pytest.Item) -> Iterator[None]:
    """Each test holds a lock that all share, or, `alone`, has it for itself; who waits for that is next."""
    run = getattr(item.config, "workerinput", {}).get("testrunuid")
    if run is None:  # no others
        return (yield)
    stem = Path(tempfile.gettempdir()) / f"flowcore-tests-{run}"
    alone = item.get_closest_marker("alone") is not None
    gate, turn = (os.open(f"{stem}.{name}", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC) for name in ("gate", "turn"))
    try:
        fcntl.flock(gate, fcntl.LOCK_EX)
        fcntl.flock(turn, fcntl.LOCK_EX if alone else fcntl.LOCK_SH)
        fcntl.flock(gate, fcntl.LOCK_UN)
        signal.signal(signal.SIGALRM, _hangs)
        signal.alarm(_LONGEST_S)
        return (yield)
    finally:
        signal.alarm(0)
        os.close(turn)
        os.close(gate)


def pytest_sessionfinish(session: pytest.Session) -> None:
    """Take the locks away, in the process that gave out the tests."""
    run = getattr(session.config, "workerinput", {}).get("testrunuid")
    if run is None and (plugin := session.config.pluginmanager.getplugin("dsession")):
        for left in Path(tempfile.gettempdir()).glob(f"flowcore-tests-{plugin.nodemanager.testrunuid}.*"):
            left.unlink(missing_ok=True)
