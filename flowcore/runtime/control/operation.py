"""One control service: its name, what it takes, what it answers and the function behind it.

Modules of this package declare theirs with `@operation`; `services` puts them on the bus, `reference` writes
their page.
"""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar, get_type_hints

from pydantic import BaseModel, ConfigDict, ValidationError

from flowcore.runtime.control.errors import ControlError

if TYPE_CHECKING:
    from flowcore.runtime.host import Host


class Request(BaseModel):
    """What a caller sends. An unknown field is an error, not a wish silently ignored."""

    model_config = ConfigDict(extra="forbid")


class Answer(BaseModel):
    """What a caller gets."""


class Nothing(Request):
    """No fields."""


class Done(Answer):
    """It is done; there is nothing else to say."""

    done: bool = True


@dataclass(frozen=True)
class Operation:
    """A control service."""

    name: str  # "state.get": the subject is flowcore.state.get
    doc: str
    request: type[Request]
    answer: type[Answer]
    handler: "Callable[[Host, Any], Awaitable[Answer]]"

    @property
    def subject(self) -> str:
        """Where it is asked."""
        return f"flowcore.{self.name}"

    @property
    def endpoint(self) -> str:
        """Its name as a NATS micro endpoint, which allows no dot."""
        return self.name.replace(".", "-")

    async def __call__(self, host: "Host", request: dict[str, Any]) -> dict[str, Any]:
        """Check the request, do it, and give the answer as JSON-ready data.

        Raises:
            ControlError: the request does not fit; and whatever the handler raises.
        """
        try:
            asked = self.request.model_validate(request)
        except ValidationError as e:
            raise _misfit(self, e) from None
        return (await self.handler(host, asked)).model_dump(mode="json")


OPERATIONS: dict[str, Operation] = {}
MEMBER_ONLY: dict[str, Operation] = {}  # asked by the main host, of a member

_Handler = TypeVar("_Handler", bound=Callable[..., Awaitable[Answer]])


def operation(name: str, among: dict[str, Operation] = OPERATIONS) -> Callable[[_Handler], _Handler]:
    """Declare a control service: its request and answer are the types of the function's second argument and result."""

    def declare(handler: _Handler) -> _Handler:
        hints = {key: hint for key, hint in get_type_hints(handler, localns={"Host": Any}).items() if key != "host"}
        answer = hints.pop("return")
        (request,) = hints.values()
        among[name] = Operation(name, (handler.__doc__ or "").strip(), request, answer, handler)
        return handler

    return declare


def _misfit(op: Operation, error: ValidationError) -> ControlError:
    problems = [
        f"{'.'.join(str(part) for part in item['loc']) or 'request'}: {item['msg'].lower()}"
        for item in error.errors(include_url=False, include_input=False)
    ]
    return ControlError(
        "invalid_request",
        "; ".join(problems),
        where=op.subject,
        do=f"Its fields: {', '.join(op.request.model_fields) or 'none'} (docs/control.md).",
        problems=problems,
    )
