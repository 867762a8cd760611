"""Brings the bench's nodes into one runtime: a plug-in written into a folder that is on that runtime's path alone.

So no host that people use lists them, and they are what a third party's would be: a package of its own that knows
`flowcore.node` and nothing else.
"""

import shutil
from pathlib import Path

_MODULE = "flowcore_bench_nodes"
_METADATA = f"Metadata-Version: 2.1\nName: {_MODULE}\nVersion: 1.0\n"
_ENTRY_POINTS = f"[flowcore]\nbench = {_MODULE}\n"


def write_plugin(folder: Path, nodes: Path | None = None) -> Path:
    """Write it into a new folder; returns the folder, for the path of the runtime.

    Args:
        nodes: the file with the nodes and the hook; None: the bench's own.
    """
    about = folder / f"{_MODULE}-1.0.dist-info"
    about.mkdir(parents=True)
    (about / "METADATA").write_text(_METADATA)
    (about / "entry_points.txt").write_text(_ENTRY_POINTS)
    shutil.copyfile(nodes or Path(__file__).with_name("nodes.py"), folder / f"{_MODULE}.py")
    return folder
