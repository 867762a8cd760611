"""A command's line to the runtime: one question over the control services, and the errors in a command's words."""

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from flowcore.cli.out import Failed, Misused

if TYPE_CHECKING:
    from flowcore.client import Client

_T = TypeVar("_T")
_WRONG_USE = {"invalid_request"}  # codes that mean the command was used wrongly


def ask(data: Path, operation: str, *, timeout: float = 30.0, **request: Any) -> dict[str, Any]:
    """Ask the runtime on `data` one thing.

    Raises:
        Failed: no runtime runs there, or it refused.
    """

    async def once(client: "Client") -> dict[str, Any]:
        return await client.call(operation, timeout=timeout, **request)

    return talk(data, once)


def talk(data: Path, use: "Callable[[Client], Awaitable[_T]]") -> _T:
    """Run `use` with a client that is connected to the runtime on `data`.

    Raises:
        Failed: as `ask`.
    """

    async def run() -> _T:
        from flowcore.client import connect

        async with connect(data, name="flowcore command") as client:
            return await use(client)

    with explained(data):
        return asyncio.run(run())


class explained:
    """Turns what a client raises into `Failed`, with what to do."""

    def __init__(self, data: Path) -> None:
        self._data = data

    def __enter__(self) -> None:
        return None

    def __exit__(self, kind: object, error: BaseException | None, _trace: object) -> None:
        from flowcore.client import BadCertificate, CallFailed, NoAnswer, NotRunning, Untrusted

        if isinstance(error, CallFailed):
            wrong = Misused if error.code in _WRONG_USE else Failed
            raise wrong(str(error), error.do, code=error.code, **error.details) from None
        if isinstance(error, NotRunning):
            raise Failed(str(error), f"Start one: flowcore up --data {self._data}", code="not_running") from None
        if isinstance(error, NoAnswer):
            raise Failed(str(error), "See what it is doing: flowcore logs", code="no_answer") from None
        if isinstance(error, Untrusted):
            do = "Give the file with the certificates to trust: --ca FILE"
            raise Failed(str(error), do, code="untrusted") from None
        if isinstance(error, BadCertificate):
            raise Misused(str(error), "") from None
        if isinstance(error, PermissionError):
            raise Failed(f"not allowed: {error}", "Use the account that started the runtime.", code="refused") from None


def editor_url(data: Path) -> str:
    """Where the editor of the runtime on `data` is.

    Raises:
        Failed: no runtime runs there, or it runs without an editor.
    """
    from flowcore.client.address import read_run_file
    from flowcore.gateway.process import url_of

    with explained(data):
        read_run_file(data)
    url = url_of(data)
    if url is None:
        raise Failed("the runtime has no editor now", "Start it without --no-editor, or see: flowcore logs")
    return url


def split_target(target: str) -> tuple[str, str | None]:
    """`FLOW` or `FLOW.NODE`, taken apart.

    Raises:
        Misused: neither.
    """
    flow, dot, node = target.partition(".")
    if not flow or (dot and not node) or "." in node:
        raise Misused(f"{target!r} is neither FLOW nor FLOW.NODE", "For example: factory.hot")
    return flow, node or None


def split_node(target: str) -> tuple[str, str]:
    """`FLOW.NODE`, taken apart.

    Raises:
        Misused: the node is missing.
    """
    flow, node = split_target(target)
    if node is None:
        raise Misused(f"{target!r} names no node", f"For example: {flow}.hot")
    return flow, node


def split_port(target: str) -> tuple[str, str, str | None]:
    """`FLOW.NODE` or `FLOW.NODE.PORT`, taken apart.

    Raises:
        Misused: neither.
    """
    parts = target.split(".")
    if len(parts) not in (2, 3) or not all(parts):
        raise Misused(f"{target!r} is neither FLOW.NODE nor FLOW.NODE.PORT", "For example: factory.hot.out")
    return parts[0], parts[1], parts[2] if len(parts) == 3 else None
