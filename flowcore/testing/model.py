"""The shape of a test file, `<flow>.test.json`, from which `test.schema.json` is generated."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any, Literal

from pydantic import BaseModel, Field, field_validator
from pydantic_core import PydanticCustomError

from flowcore.flow.model import ID, PORT, EnvName, Strict

FORMAT = 1
NODE = rf"{ID}(:{ID})*"

NodeId = Annotated[
    str, Field(pattern=f"^{NODE}$", json_schema_extra={"says": "must be the id of a node, or '<instance>:<node>'"})
]
Place = Annotated[str, Field(pattern=rf"^{NODE}\.{PORT}$", json_schema_extra={"says": "must be '<node>.<port>'"})]
Seen = Annotated[
    str,
    Field(
        pattern=rf"^{NODE}\.{PORT}( -> {NODE}\.{PORT})?$",
        json_schema_extra={"says": "must be '<node>.<port>', or a wire: '<node>.<port> -> <node>.<port>'"},
    ),
]
Within = Annotated[float, Field(ge=0, le=31_536_000)]


class Answer(Strict):
    """What a stub answers to some messages."""

    when: Any = Field(description='The payload it is for; patterns may be used, such as {"$has": {"id": 5}}')
    reply: Any = Field(description="The payload of the answer")


class Stub(Strict):
    """Something in a node's place: it keeps what comes in, and answers as it is told."""

    reply: Any = Field(default=None, description="Answer every message with this payload")
    replies: list[Any] | None = Field(default=None, description="Payloads of the answers, in order")
    then: Literal["fail", "repeat", "silent"] = Field(
        default="fail", description="After the last of the replies: an error, the last one again, or nothing"
    )
    answers: list[Answer] | None = Field(default=None, description="The first that fits the payload answers")
    otherwise: Any = Field(default=None, description="The answer where none fits; without it that is an error")
    fails: int = Field(default=0, ge=0, description="The first so many messages fail")
    error: str = Field(default="it fails, as the case asks", description="What the error of those says")
    never: bool = Field(default=False, description="Its handler never comes back")
    port: Annotated[str, Field(pattern=f"^{PORT}$")] | None = Field(
        default=None, description="The output that answers leave by; null: the first"
    )


StubUse = Literal["source", "sink", "never"] | Stub


class Step(Strict):
    """What every step may have."""

    note: str = Field(default="", description="Remarks for people")


class Put(Step):
    """Put a message into an input, or let a stub send from an output."""

    put: Place = Field(description="'<node>.<port>': an input of a node, or an output of a stub")
    payload: Any = Field(default=None, description='Its payload; bytes are {"$bytes": base64}')
    payloads: list[Any] | None = Field(default=None, description="Several, one after the other")
    file: str | None = Field(default=None, description="A file that holds the payload, relative to the test file")
    read_as: Literal["bytes", "text", "json", "lines", "json_lines"] = Field(
        default="bytes", alias="as", description="What the file is: one payload, or one for each line"
    )
    topic: str = ""
    meta: dict[str, Any] = Field(default_factory=dict)
    every_s: Within = Field(default=0, description="Move the time so far after each of several, in seconds")


class Expected(Strict):
    """A message; what is left out may be anything."""

    payload: Any = Field(default=None, description="The payload, as it is but for patterns")
    has: dict[str, Any] | None = Field(default=None, description="The payload is a map that has this, and perhaps more")
    topic: Any = Field(default=None, description="A text, or a pattern")
    meta: dict[str, Any] | None = Field(default=None, description="Notes that it has, and perhaps more")


class Expect(Step, Expected):
    """What has come out since the last look at this place."""

    expect: Seen = Field(
        description="An output, an input (what came to it), a wire, or 'error', 'status', 'debug' or 'log' of a node"
    )
    messages: list[Expected] | None = Field(default=None, description="Several, in this order")
    unordered: bool = Field(default=False, description="The messages may come in any order")
    skip: bool = Field(default=False, description="Pass over messages in between that are others")
    count: int | None = Field(default=None, ge=0, description="So many came, no more; each is as the step says")
    none: bool = Field(default=False, description="Nothing came; with `within_s`: nor does it in that time")
    within_s: Within = Field(default=0, description="Move the time until it comes, so far at most, in seconds")


class Advance(Step):
    """Move the time; what falls due happens in its order, each thing before the next."""

    advance: Annotated[float, Field(gt=0, le=31_536_000)] = Field(description="Seconds")


class Kill(Step):
    """SIGKILL a node's process, and wait until its successor runs."""

    kill: NodeId


class Wait(Step):
    """Wait, in real time, until a node's process is in a state."""

    wait: NodeId
    state: Literal["running", "restarting", "failed", "paused"] = "running"
    within_s: Within = Field(default=10, description="At most so many seconds")


class Pause(Step):
    """A node handles nothing more."""

    pause: NodeId


class Resume(Step):
    """A paused node goes on."""

    resume: NodeId


STEPS: dict[str, type[Step]] = {
    "put": Put, "expect": Expect, "advance": Advance, "kill": Kill, "wait": Wait, "pause": Pause, "resume": Resume,
}  # fmt: skip
AnyStep = Put | Expect | Advance | Kill | Wait | Pause | Resume


class Surroundings(Strict):
    """What is around a flow while it is tested."""

    env: dict[EnvName, Any] = Field(
        default_factory=dict, description="Values in place of those of the flow; ${TEST_DIR} is a folder of the case"
    )
    stubs: dict[NodeId, StubUse] = Field(default_factory=dict, description="Node -> what stands in its place")
    real: list[NodeId] = Field(
        default_factory=list, description="Nodes that reach beyond the flow, and are meant to: no stub is asked for"
    )
    secrets: dict[str, str] = Field(default_factory=dict, description="Secrets that the flow finds")


class Case(Surroundings):
    """One case: the flow begins anew, and these things happen."""

    name: str = Field(min_length=1, max_length=200, description="What must be so, in a few words")
    description: str = ""
    clock: Literal["moved", "real"] = Field(
        default="moved", description="Time stands still and is moved by steps, or goes by itself"
    )
    begins: str | None = Field(default=None, description="When it is at the beginning, such as 2026-03-01T08:00:00Z")
    errors: Literal["fail", "allow"] = Field(default="fail", description="What an error means that no step expects")
    skip: str = Field(default="", description="Why this case is left out; empty: it is not")
    timeout_s: float = Field(default=60, gt=0, le=3600, description="Longest it may take in real time, in seconds")
    steps: list[AnyStep] = Field(min_length=1, description="What happens, in order")

    @field_validator("begins")
    @classmethod
    def _is_time(cls, begins: str | None) -> str | None:
        if begins is not None:
            try:
                has_zone = datetime.fromisoformat(begins).tzinfo is not None
            except ValueError:
                raise PydanticCustomError("time", "must be a time such as 2026-03-01T08:00:00Z") from None
            if not has_zone:
                raise PydanticCustomError("time", "needs a time zone: write 2026-03-01T08:00:00Z")
        return begins

    def begins_s(self) -> float | None:
        """`begins` as seconds since 1970."""
        return None if self.begins is None else datetime.fromisoformat(self.begins).timestamp()


class TestFile(Surroundings):
    """The cases of one flow."""

    __test__ = False  # for pytest, which takes what is called Test for a test

    schema_: str | None = Field(default=None, alias="$schema", description="Where editors find this schema")
    flowtest: Literal[1] = Field(description="Version of this format: 1")
    flow: str = Field(
        default="", description="The flow's file, relative to this one; empty: <name>.json for <name>.test.json"
    )
    description: str = ""
    cases: list[Case] = Field(min_length=1)


def given(part: BaseModel, name: str) -> bool:
    """Whether a field stands in the file, null or not."""
    return name in part.model_fields_set
