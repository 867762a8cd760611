"""The control services on the bus, as NATS micro services: the `nats` tool finds and calls them.

The main host answers `flowcore.<operation>`, a member `flowcore.host.<name>.<operation>`, and fewer of them.

    services = ControlServices(host)
    await services.start()
    ...
    await services.stop()

Invariant: an answer goes to an inbox and nowhere else. A caller chooses the reply subject, and the host may publish
anywhere: without this rule whoever may ask for the status could have the host publish on a wire.
"""

import asyncio
import json
import logging
from typing import TYPE_CHECKING, Any

from flowcore import __version__
from flowcore.bus import subjects
from flowcore.bus.services import Service
from flowcore.runtime.control import access, contexts, documents, examples, member, nodes, records, stores  # noqa: F401 - they declare operations
from flowcore.runtime.control.errors import ControlError, explain
from flowcore.runtime.control.operation import OPERATIONS, Operation

if TYPE_CHECKING:
    from flowcore.runtime.host import Host

_log = logging.getLogger("flowcore.control")
_AT_ONCE = 64  # requests in work; more wait
_LARGEST_ANSWER = 7 * 1024 * 1024  # the embedded server takes 8 MB


class ControlServices:
    """Answers for one host."""

    def __init__(self, host: "Host") -> None:
        self._host = host
        self._slots = asyncio.Semaphore(_AT_ONCE)
        self._service = Service(
            host.bus.connection,
            name=f"flowcore-host-{host.options.host}" if host.options.host else "flowcore",
            version=__version__,
            description="Control of a flowcore host: flows, nodes, revisions, records",
        )

    async def start(self) -> None:
        """Announce the services and begin to answer."""
        name = self._host.options.host
        for op in (member.member_operations() if name else OPERATIONS).values():
            subject = subjects.host(name, op.name) if name else op.subject
            self._service.add(op.endpoint, subject, self._answerer(op), _metadata(op))
        await self._service.start()

    async def stop(self) -> None:
        """Answer nothing more."""
        await self._service.stop()

    def _answerer(self, op: Operation) -> Any:
        async def answer(data: bytes) -> tuple[bytes, tuple[str, str] | None]:
            async with self._slots:
                return await self.handle(op, data)

        return answer

    async def handle(self, op: Operation, data: bytes) -> tuple[bytes, tuple[str, str] | None]:
        """Do what a request asks: the answer's bytes, and (code, message) when it is an error."""
        try:
            answer = json.dumps(await op(self._host, _parsed(op, data))).encode()
            if len(answer) > _LARGEST_ANSWER:
                raise ControlError("refused", f"the answer has {len(answer)} bytes", do="Ask for less at once.")
            return answer, None
        except Exception as e:
            error = explain(e)
            if error.code == "failed":
                _log.exception("%s failed", op.subject)
            return json.dumps(error.asdict()).encode(), (error.code, error.message)


def _parsed(op: Operation, data: bytes) -> dict[str, Any]:
    try:
        request = json.loads(data) if data.strip() else {}
    except (ValueError, RecursionError) as e:
        raise ControlError("invalid_request", f"not JSON: {e}", where=op.subject, do="Send a JSON object.") from None
    if not isinstance(request, dict):
        raise ControlError("invalid_request", "a JSON object is needed", where=op.subject, do="Send {} for no fields.")
    return request


def _metadata(op: Operation) -> dict[str, str]:
    return {
        "description": op.doc.partition("\n")[0],
        "format": "application/json",
        "request_schema": json.dumps(op.request.model_json_schema()),
        "response_schema": json.dumps(op.answer.model_json_schema()),
    }
