"""How a control service says no: a code for programs, and for people what is wrong, where, and what to do next."""

from typing import Any

from flowcore.runtime.results import DeployRefused, HostError, StaleRevision, UnknownFlow, UnknownNode, UnknownRevision


class ControlError(Exception):
    """An answer that is an error.

    Args:
        code: one of the codes in `docs/control.md`; programs decide by it.
        message: what is wrong, one sentence.
        where: the flow, node, file or field it is about.
        do: what to do next, one sentence or a command.
        details: more, by code (`problems`, `difference`, ..).
    """

    def __init__(self, code: str, message: str, *, where: str = "", do: str = "", **details: Any) -> None:
        super().__init__(message)
        self.code, self.message, self.where, self.do, self.details = code, message, where, do, details

    def asdict(self) -> dict[str, Any]:
        """The error as it travels."""
        return {
            "error": {
                "code": self.code,
                "message": self.message,
                "where": self.where,
                "do": self.do,
                "details": self.details,
            }
        }


CODES = {
    "invalid_request": "the request does not fit its schema",
    "invalid_flow": "the document has errors; `details.problems` holds all of them; nothing was changed",
    "stale": "the deploy is based on a revision that is no longer the newest; `details.difference` shows what changed",
    "unknown_flow": "no flow of that id",
    "unknown_node": "the flow has no such node, or it has no process now",
    "unknown": "no such revision, message, user or key",
    "refused": "the host will not do it; the message says why",
    "timeout": "it was begun and is not done yet",
    "failed": "a fault inside the host; its log has the traceback",
}


def explain(error: Exception) -> ControlError:
    """What the host raised, as an answer."""
    if isinstance(error, ControlError):
        return error
    if isinstance(error, DeployRefused):
        problems = [str(problem) for problem in error.problems]
        errors = sum(problem.severity == "error" for problem in error.problems)
        count = "1 error" if errors == 1 else f"{errors} errors"
        return ControlError(
            "invalid_flow",
            f"{count}, nothing was deployed",
            where=error.flow,
            do="Correct the file and deploy again; what ran goes on.",
            problems=problems,
        )
    if isinstance(error, StaleRevision):
        return ControlError(
            "stale",
            f"flow {error.flow!r} is at revision {error.current}, this deploy was based on {error.based_on}",
            where=error.flow,
            do=f"See what changed: flowcore diff {error.flow} {error.based_on} {error.current}",
            current=error.current,
            based_on=error.based_on,
        )
    if isinstance(error, UnknownFlow):
        return ControlError("unknown_flow", str(error), where=error.flow, do="List them: flowcore status")
    if isinstance(error, UnknownRevision):
        return ControlError("unknown", str(error), where=error.flow, do=f"List them: flowcore history {error.flow}")
    if isinstance(error, UnknownNode):
        where = f"{error.flow}.{error.node}"
        return ControlError("unknown_node", str(error), where=where, do=f"List them: flowcore status {error.flow}")
    if isinstance(error, HostError):
        return ControlError("refused", str(error))
    if isinstance(error, TimeoutError):
        return ControlError("timeout", str(error) or "not done in time", do="Look again: flowcore status")
    return ControlError("failed", f"{type(error).__name__}: {error}", do="The host's log has more: flowcore logs")
