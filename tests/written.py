"""What pages say can be run: their fenced blocks, and a place to run them in.

A fenced block says after its language how it is run: `test` line by line to the end of each, `test=NAME` as the test
that asks for NAME does it, `file=NAME` is written to that file first, `not run: REASON` not at all.
"""

import re
import signal
import subprocess
import sys
import time
import venv
from dataclasses import dataclass, field
from pathlib import Path

from flowcore.bus.config import nats_server_program

LONGEST_S = 120
_FENCE = re.compile(r"^```(\w+) ?([^\n]*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_NOT_RUN = "not run: "


@dataclass(frozen=True)
class Block:
    """A fenced block: its language, what it says of itself, its text."""

    language: str
    test: str | None  # "" for `test` alone
    file: str
    not_run: str  # the reason
    text: str
    section: str

    @property
    def lines(self) -> list[str]:
        """The commands of a shell block."""
        return [line for line in self.text.splitlines() if line]


def blocks_of(page: Path) -> list[Block]:
    """The fenced blocks of a page, in its order."""
    text, found = page.read_text(encoding="utf-8"), []
    for fence in _FENCE.finditer(text):
        reason = fence[2].removeprefix(_NOT_RUN) if fence[2].startswith(_NOT_RUN) else ""
        words = {} if reason else dict((word.partition("=")[0], word.partition("=")[2]) for word in fence[2].split())
        section = ["", *re.findall(r"^## (.+)$", text[: fence.start()], re.MULTILINE)][-1]
        found.append(Block(fence[1], words.get("test"), words.get("file", ""), reason, fence[3], section))
    return found


@dataclass
class Place:
    """A checkout of its own: the flows, the Makefile, an environment on top of the one that runs the tests."""

    folder: Path
    env: dict[str, str] = field(default_factory=dict)

    def run(self, line: str, timeout_s: float = LONGEST_S) -> str:
        """Run a command line to its end; returns what it printed."""
        ran = subprocess.run(
            ["sh", "-c", line], cwd=self.folder, env=self.env, capture_output=True, text=True, timeout=timeout_s
        )
        assert ran.returncode == 0, f"{line}\nended with {ran.returncode}\n{ran.stdout}\n{ran.stderr}"
        return ran.stdout

    def until(self, command: list[str], text: str, stop: int = signal.SIGINT) -> tuple[str, int]:
        """Run a command until it prints `text`, then stop it; returns what it printed and its exit status."""
        running = self.start(command, text)
        running.process.send_signal(stop)
        rest, _ = running.process.communicate(timeout=LONGEST_S)
        return running.said + rest, running.process.returncode

    def start(self, command: list[str], text: str) -> "Running":
        """Start a command; returns when it has printed `text`."""
        process = subprocess.Popen(
            command,
            cwd=self.folder,
            env=self.env,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        said, deadline_s = "", time.monotonic() + LONGEST_S
        assert process.stdout is not None
        for line in process.stdout:
            said += line
            if text in line:
                return Running(process, said)
            assert time.monotonic() < deadline_s, f"{command} did not say {text!r}:\n{said}"
        raise AssertionError(f"{command} ended with {process.wait()} and did not say {text!r}:\n{said}")


@dataclass
class Running:
    """A command that runs, and what it has said so far."""

    process: subprocess.Popen[str]
    said: str


def make_environment(folder: Path) -> None:
    """A virtual environment on top of the one that runs the tests."""
    venv.create(folder, with_pip=False)
    (site,) = folder.glob("lib/python*/site-packages")
    outer = [path for path in sys.path if path.endswith(("site-packages", "dist-packages"))]
    (site / "outer.pth").write_text("".join(f"import site; site.addsitedir({path!r})\n" for path in outer))
    modules = {"flowcore": "flowcore.cli", "pip": "pip", "pytest": "pytest"}
    for name, module in modules.items():
        script = folder / "bin" / name
        script.write_text(f'#!/bin/sh\nexec "{folder}/bin/python" -m {module} "$@"\n')
        script.chmod(0o755)
    (folder / "bin" / "nats-server").symlink_to(nats_server_program())
