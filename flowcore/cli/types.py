"""The node types installed beside this command, read without a runtime."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from flowcore.flow.types import NodeTypeInfo


def installed_types() -> "tuple[dict[str, NodeTypeInfo], list[str]]":
    """Type -> what it is; and the plug-ins that could not be read, a line each."""
    import contextlib
    import io

    from flowcore.runtime.typelist import read

    with contextlib.redirect_stdout(io.StringIO()):  # what a plug-in prints while it is imported is not our answer
        found = read()
    return found.types, [f"plug-in {problem.plugin}: {problem.text}" for problem in found.problems]
