"""A runtime for tests: a host in this process on free ports and a folder of its own, which knows the stub besides.

Nothing of a runtime that the user has is touched; it may run meanwhile.
"""

import asyncio
import os
import shutil
import tempfile
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Self

from flowcore.buffers.fetch import Fetcher
from flowcore.bus import storage
from flowcore.client.tensor import Memory
from flowcore.flow.types import NodeTypeInfo
from flowcore.node.clock import SharedTime
from flowcore.runtime.host import Host
from flowcore.runtime.options import HostOptions

BEGINS_S = 1_767_225_600.0  # 2026-01-01T00:00:00Z, where time stands when a case does not say
_STUBS = "flowcore_test_stubs"


class Rig:
    """`async with Rig() as rig:` starts it; at its end nothing of it is left.

    Attributes:
        host: the runtime.
        memory: how tensors in recorded messages are read.
        time: what is moved; nodes read it from the file `clock`.
    """

    host: Host
    memory: Memory

    def __init__(self) -> None:
        self._folder = Path(tempfile.mkdtemp(prefix="flowcore-test-"))
        self._cases = 0
        self.clock = str(self._folder / "clock")
        self.time = SharedTime.create(self.clock, BEGINS_S)

    async def __aenter__(self) -> Self:
        try:
            plugin = _write_plugin(self._folder / "plugin")
            path = os.pathsep.join([str(plugin), *filter(None, [os.environ.get("PYTHONPATH")])])
            options = HostOptions(
                folder=self._folder / "data", nats_port=0, mqtt_port=0, drain_s=0.0, nodes_environ={"PYTHONPATH": path}
            )
            self.host = Host(options)
            await self.host.start()
            self.memory = Memory(Fetcher(self.host.bus.connection, "_INBOX"))
        except BaseException:
            shutil.rmtree(self._folder, ignore_errors=True)
            raise
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            await self.memory.close()
            await self.host.stop(drain_s=0)
        finally:
            shutil.rmtree(self._folder, ignore_errors=True)

    @property
    def types(self) -> Mapping[str, NodeTypeInfo]:
        """The node types there are, the stub among them."""
        return self.host.types

    def case_folder(self) -> Path:
        """A new folder for one case's files."""
        self._cases += 1
        folder = self._folder / "cases" / str(self._cases)
        folder.mkdir(parents=True)
        return folder

    async def clear(self, flow: str) -> None:
        """End a flow at once, and forget all that it had stored."""
        host = self.host
        run = host.reconciler.runs.get(flow)
        if run is not None:
            for one in run.processes.values():
                one.kill_all()
        if flow in host.flows():
            await host.documents.remove(flow)
        for name in host.secrets.names():
            host.secrets.remove(name)
        jetstream = host.bus.connection.jetstream()
        buckets = (f"KV_{storage.STATE}", f"KV_{storage.CONTEXT}", storage.GIVEN_UP)
        await asyncio.gather(*(jetstream.purge_stream(name) for name in buckets))

    def secrets(self, secrets: Mapping[str, str]) -> None:
        """The secrets that the next flow finds."""
        for name, value in secrets.items():
            self.host.secrets.set(name, value)


def _write_plugin(folder: Path) -> Path:
    """What tells a runtime, on whose path it is, of the plug-in that is part of this package."""
    about = folder / f"{_STUBS}-1.0.dist-info"
    about.mkdir(parents=True)
    (about / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {_STUBS}\nVersion: 1.0\n")
    (about / "entry_points.txt").write_text(f"[flowcore]\n{_STUBS} = flowcore.testing.stubs\n")
    return folder
