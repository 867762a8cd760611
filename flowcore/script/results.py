"""What a script made of one message, as its node gets it.

A worker is not trusted: what it sends as a result is looked through here before anything of it is passed on. Knows what
a result may hold (`flowcore.script.frames` has the form and the limits), neither workers nor deadlines.

    ValueError, TypeError   what came is no result: the worker has broken the protocol

Invariant: each output of a Result is for a port that there is, and nothing in it is deeper or of more parts than
`frames.check_result` lets through. What goes beyond is an error of its message, not of the worker.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from flowcore.script import frames
from flowcore.script.errors import ScriptError, from_worker

Note = tuple[str, str, Any]  # ("info" | "warning" | "error" | "status", text, extra)


class Result:
    """What one message made.

    Attributes:
        outputs: [port, payload, topic, meta] each, in the order they were sent; port is a number.
        changes: key of context -> [value], or [] where it was taken away.
        notes: (kind, text, extra): lines printed and logged (kind info, warning, error), badges (kind status). Of an
            error that is about a message, extra is True or that message: [payload, topic, meta].
        error: why it failed; then there are no outputs and no changes.
        due_s: in how many seconds the script wants a `tick`; None: it has set no timer.
    """

    __slots__ = ("changes", "due_s", "error", "notes", "outputs")

    def __init__(
        self,
        outputs: Sequence[list] = (),
        changes: Mapping[str, list] | None = None,
        notes: Sequence[Note] = (),
        error: ScriptError | None = None,
        due_s: float | None = None,
    ) -> None:
        self.outputs = outputs
        self.changes = changes or {}
        self.notes = notes
        self.error = error
        self.due_s = due_s

    def __repr__(self) -> str:
        return f"Result({self.outputs!r}, changes={self.changes!r}, notes={self.notes!r}, error={self.error!r})"


NOTHING = Result()


def read_result(raw: Any, ports: int) -> Result:
    """A result as the worker sent it, looked through.

    Args:
        ports: how many outputs the script has.
    Raises:
        ValueError, TypeError: it is not one.
    """
    if raw is None:
        return NOTHING
    outputs, changes, notes, error, *more = raw
    due_s = float(more[0]) if more and more[0] is not None else None
    if error is not None:
        return Result(notes=read_notes(notes), error=from_worker(error), due_s=due_s)
    try:
        for port, payload, topic, meta in outputs:
            if type(port) is not int or not 0 <= port < ports or type(topic) is not str or type(meta) is not dict:
                raise TypeError("no such output")
            if type(payload) is dict or type(payload) is list:
                frames.check_result(payload)
            if meta:
                frames.check_result(meta)
        if not changes and not notes:
            return Result(outputs, due_s=due_s)
        if type(changes) is not dict or not all(type(v) is list and len(v) < 2 for v in changes.values()):
            raise TypeError("no changes of context")
        frames.check_result(changes)
    except frames.TooMuch as e:
        return Result(notes=read_notes(notes), error=ScriptError(str(e), type="TooMuch"), due_s=due_s)
    return Result(outputs, changes, read_notes(notes), due_s=due_s)


def read_notes(raw: Any) -> list[Note]:
    """Notes as the worker sent them; those of no known kind are left out, long ones are cut.

    Raises:
        ValueError, TypeError: they are not notes.
    """
    notes: list[Note] = []
    for kind, text, extra in raw[: frames.MAX_LOG_LINES + 1]:
        if kind in ("info", "warning", "error", "status"):
            notes.append((kind, str(text)[: frames.MAX_LOG_CHARS], _extra(extra)))
    return notes


def _extra(extra: Any) -> Any:
    """What a note is about: a word, a yes, or a message; anything else is nothing."""
    if isinstance(extra, str | bool):
        return extra
    if type(extra) is list and len(extra) == 3 and type(extra[1]) is str and type(extra[2]) is dict:
        frames.check_result(extra)
        return extra
    return None


def merged(first: Result, second: Result) -> Result:
    """What two made, as one: the outputs of the first go before, the changes of the second count."""
    if first is NOTHING:
        return second
    return Result(
        [*first.outputs, *second.outputs],
        {**first.changes, **second.changes},
        [*first.notes, *second.notes],
        second.error,
        second.due_s,
    )
