"""What a member host answers under its own name, `flowcore.host.<name>.<operation>`: for the main host, which passes on
what it is asked of nodes placed there, and for `flowcore down` on the member's machine.

Most are the control services of the main host, for the member's own nodes; those declared here are between hosts only.
"""

from typing import TYPE_CHECKING, Literal

from pydantic import Field

from flowcore.runtime.control.documents import Deployed, FlowAsked
from flowcore.runtime.control.operation import MEMBER_ONLY, OPERATIONS, Answer, Operation, operation

if TYPE_CHECKING:
    from flowcore.runtime.host import Host

_ALSO_OF_MEMBERS = ("status", "restart", "kill", "inject", "last", "logs", "types", "down")


class AppliedRequest(FlowAsked):
    """A change, as the main host stored it."""

    version: int = Field(description="Of what is stored of the flow in the bucket `placed`")
    desired: int = Field(description="Revision of what is desired of it")
    changed: Literal["version", "desired", ""] = Field(
        description="Which of the two the change wrote; empty: none, only what runs is told"
    )
    timeout_s: float = Field(60.0, gt=0, le=600)


@operation("applied", MEMBER_ONLY)
async def applied(host: "Host", ask: AppliedRequest) -> Deployed:
    """Wait until a change of a flow is applied on this member, and say what that did to the nodes placed on it."""
    return Deployed.of(await host.applied_here(ask.flow, ask.version, ask.desired, ask.changed, ask.timeout_s))


class Calm(Answer):
    """Whether all that a flow's nodes here had is through."""

    calm: bool


@operation("quiesce", MEMBER_ONLY)
async def quiesce(host: "Host", ask: FlowAsked) -> Calm:
    """Stop the sources of a flow on this member, because it is about to stop everywhere."""
    return Calm(calm=await host.quiesced_here(ask.flow))


def member_operations() -> dict[str, Operation]:
    """Name -> operation, of all that a member answers."""
    return {name: OPERATIONS[name] for name in _ALSO_OF_MEMBERS} | MEMBER_ONLY
