"""What can go wrong with a script, as its node sees it.

    ScriptError               the handler raised; `.type`, `.line` and `.traceback` are the script's own
    ├── ScriptTimeout         one message took longer than the deadline; its worker was killed, or stopped it itself
    ├── ScriptKilled          the worker ended by itself: out of memory, crashed, broke the protocol
    ├── ScriptPaused          three kills in a minute: messages fail at once for a while, with the reason
    ├── ScriptRefused         the script does not compile, or its `on_start` failed
    ├── SandboxMissing        this machine can't lock a script in, and the node did not allow less
    └── ZygoteGone            no worker can be had: the script zygote is not there

Each keeps the script's own line and traceback, where there is one.
"""

from collections.abc import Sequence


class ScriptError(Exception):
    """A failure of a script; the text is one line, the parts are kept."""

    def __init__(self, text: str, *, type: str = "", line: int | None = None, traceback: str = "") -> None:
        super().__init__(text)
        self.type = type
        self.line = line
        self.traceback = traceback
        if traceback:
            self.add_note(f"In the script:\n{traceback}")


class ScriptTimeout(ScriptError):
    """One message took longer than the deadline."""


class ScriptKilled(ScriptError):
    """The worker ended by itself, or broke the protocol and was ended."""


class ScriptPaused(ScriptError):
    """Too many kills: nothing is run for a while."""


class ScriptRefused(ScriptError):
    """The script does not compile, or its `on_start` failed."""

    @property
    def is_permanent(self) -> bool:
        """Whether the same script would be refused again."""
        return self.type == "SyntaxError"


class SandboxMissing(ScriptError):
    """Layers of the sandbox are missing on this machine; `missing` names them."""

    def __init__(self, missing: Sequence[str]) -> None:
        self.missing = tuple(missing)
        super().__init__(
            f"scripts can't be locked in on this machine ({'; '.join(missing)}). "
            'The node\'s setting "sandbox": "weak" runs them with the layers there are, "off" with none.'
        )


class ZygoteGone(ScriptError):
    """The script zygote can't be reached."""


def from_worker(described: Sequence, *, kind: type[ScriptError] = ScriptError) -> ScriptError:
    """[type, text, line, traceback] as a worker sends it, made into an error. Nothing in it is trusted to fit."""
    name, text, line, traceback = (*described, None, None, None, None)[:4]
    name, text = str(name)[:100], str(text or "")[:2000]
    line = line if isinstance(line, int) else None
    if name == ScriptTimeout.__name__ and kind is ScriptError:  # a worker that keeps its deadline itself
        kind, shown = ScriptTimeout, text
    else:
        shown = f"{name}: {text}" if text else name
    return kind(f"line {line}: {shown}" if line else shown, type=name, line=line, traceback=str(traceback or "")[:8000])
