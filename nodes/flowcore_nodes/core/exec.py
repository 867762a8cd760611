import asyncio
import json
import signal
import time
from collections.abc import AsyncIterator
from typing import Any, Literal

from pydantic import field_validator, model_validator

from flowcore.node import GiveUp, In, Message, Node, NodeConfig, Out, field
from flowcore.node.paths import MessagePath
from flowcore_nodes.core.commands import Command, Guards, NotStarted, environment
from flowcore_nodes.core.path_fields import ReadPathOrEmpty

_BLOCK = 64 * 1024
_LARGEST_ARGUMENT = 128 * 1024 - 1  # the kernel's
_CLOSE_S = 1.0  # for what it left behind to let go of its outputs
_SIGNALS = {one.name: one.value for one in signal.Signals}


class CommandFailed(Exception):
    """A command ended with a code other than 0, by a signal, was out of time or wrote too much."""


class Exec(Node):
    """Run a command for each message, or one that runs all the time, and send on what it writes.

    The command is a list of arguments; no shell looks at it unless asked. What it writes goes out of `stdout` and
    `stderr`, as a whole or line by line, and `result` says how it ended. It gets no descriptor of the node and of its
    environment only PATH, HOME, language and time zone. It leads a process group, which is ended when it is out of
    time, when it leaves something running behind, and when the node ends, however that happens. One runs at a time, or
    as many as the setting `concurrency` says; then `meta.kill` (true, or a signal's name) ends all that run. A runtime
    started with --no-exec runs none.
    """

    type = "core/exec"
    title = "Exec"
    category = "function"
    icon = "terminal"
    runs_commands = True

    class Config(NodeConfig):
        command: list[str] = field(
            ..., min_length=1, max_length=1000, description='Program and arguments: ["ffprobe", "-v", "error"]'
        )
        when: Literal["message", "start"] = field(
            "message", description="Run for each message, or from the start on and again when it ends"
        )
        append: ReadPathOrEmpty = field(
            "",
            description="Path of further arguments: each item of a list is one, a text as a whole is one; empty: none",
        )
        stdin: ReadPathOrEmpty = field(
            "", description="Path of what it reads: text, bytes, all else as JSON; empty: nothing"
        )
        shell: bool = field(
            False, description='The first word is a script for /bin/sh; further arguments are "$1", "$2" ... in it'
        )
        output: Literal["whole", "lines"] = field(
            "whole", description="All of it when it ends, or each line as it comes"
        )
        encoding: Literal["utf-8", "latin-1", "bytes"] = field("utf-8", description="Of what it writes")
        timeout_s: float = field(30.0, ge=0, le=604_800, description="Longest run, in seconds; 0: no limit")
        kill_after_s: float = field(
            2.0, ge=0, le=60, description="Out of time it gets SIGTERM, and so many seconds later SIGKILL"
        )
        max_output_bytes: int = field(
            1_048_576, gt=0, le=67_108_864,
            description="Most that it may write (whole), or longest line (lines), in bytes; past it, it is killed",
        )  # fmt: skip
        fail: bool = field(
            False,
            description="A code other than 0, a signal, a time-out or too much output is an error of the message, with "
            "its retries and catch; off: `result` says so",
        )
        cwd: str = field("", description="Folder where it runs; empty: where the runtime was started")
        env: dict[str, str] = field({}, description="Further environment variables")
        again_s: float = field(
            5.0, ge=0.1, le=86_400, description="when = start: wait before it is run again, in seconds"
        )

        @field_validator("command")
        @classmethod
        def _is_command(cls, command: list[str]) -> list[str]:
            if not command[0]:
                raise ValueError("the first word is the program, and is empty")
            for word in command:
                _check_argument(word)
            return command

        @field_validator("env")
        @classmethod
        def _is_env(cls, env: dict[str, str]) -> dict[str, str]:
            for name, value in env.items():
                if not name or "=" in name or "\0" in name + value:
                    raise ValueError(f"{name!r} can't be an environment variable")
            return env

        @model_validator(mode="after")
        def _fits(self) -> "Exec.Config":
            if self.when == "start" and (self.stdin or self.append):
                raise ValueError("stdin and append take from a message, and with when = start there is none")
            return self

    in_ = In(description="runs the command")
    stdout = Out(description="what it wrote there; meta.code when it is whole")
    stderr = Out(description="what it wrote there, if anything")
    result = Out(dict, "code, signal, timed_out, too_much, duration_s")

    async def on_start(self) -> None:
        self._guards = Guards()
        self._running: set[Command] = set()
        self._append = MessagePath(self.config.append).get if self.config.append else None
        self._stdin = MessagePath(self.config.stdin).get if self.config.stdin else None

    async def on_stop(self) -> None:
        await self._guards.close()

    async def run(self) -> None:
        if self.config.when != "start":
            return
        while True:
            try:
                await self._run_once(None)
            except (CommandFailed, GiveUp) as e:
                self.report(e)
            await asyncio.sleep(self.config.again_s)

    async def on_message(self, message: Message) -> None:
        if message.meta.get("kill"):
            await self._kill_all(message.meta["kill"])
        elif self.config.when == "start":
            raise GiveUp("this node runs its command from the start on; set when = message to run it for messages")
        else:
            await self._run_once(message)

    async def _kill_all(self, which: Any) -> None:
        number = _SIGNALS.get(which) if isinstance(which, str) else signal.SIGTERM
        if number is None:
            raise GiveUp(f"no signal {which!r}; for example SIGTERM, SIGINT, SIGKILL")
        for command in list(self._running):
            await command.kill(number)

    async def _run_once(self, message: Message | None) -> None:
        config = self.config
        argv = [*config.command, *self._arguments(message)]
        if config.shell:
            argv = ["/bin/sh", "-c", argv[0], "sh", *argv[1:]]
        content = self._content(message)
        try:
            command = await self._guards.start(argv, environment(config.env), config.cwd, content is not None)
        except NotStarted as e:
            where = f" in {config.cwd}" if config.cwd else ""
            raise GiveUp(f"{argv[0]} can't be run{where}: {e}") from None
        self._running.add(command)
        self.set_status(f"{len(self._running)} running, process {command.pid}", "busy")
        run = _Run(self, command, message)
        try:
            await run.until_end(content)
        finally:
            self._running.discard(command)
            if not command.ended.done():
                await command.kill(signal.SIGKILL)
        self._show(run)
        if config.fail and run.why:
            raise CommandFailed(run.why)

    def _show(self, run: "_Run") -> None:
        if self._running:
            self.set_status(f"{len(self._running)} running", "busy")
        else:
            self.set_status(run.why or "ended", "warn" if run.why else "ok")

    def _arguments(self, message: Message | None) -> list[str]:
        if self._append is None or message is None:
            return []
        found = self._append(message)
        words = [_as_argument(one) for one in (found if isinstance(found, (list, tuple)) else [found])]
        for word in words:
            try:
                _check_argument(word)
            except ValueError as e:
                raise GiveUp(str(e)) from None
        return words

    def _content(self, message: Message | None) -> bytes | None:
        if self._stdin is None or message is None:
            return None
        value = self._stdin(message)
        if isinstance(value, bytes):
            return value
        if isinstance(value, str):
            return value.encode()
        try:
            return json.dumps(value, ensure_ascii=False, allow_nan=False).encode()
        except (TypeError, ValueError) as e:
            raise GiveUp(f"what it is to read can't be written as JSON: {e}") from None


class _Run:
    """One run of a command, from its start to the message that says how it ended.

    Attributes:
        why: what was wrong with it, "" when it ended with 0.
    """

    def __init__(self, node: Exec, command: Command, message: Message | None) -> None:
        self._node, self._command, self._message = node, command, message
        self._config = node.config
        self._sizes = 0
        self._outcome: dict[str, Any] = {"code": None, "signal": None, "timed_out": False, "too_much": False}
        self.why = ""

    async def until_end(self, content: bytes | None) -> None:
        command, config, begun_s = self._command, self._config, time.monotonic()
        if command.stdin is not None:
            command.stdin.send(content or b"")
        take = self._whole if config.output == "whole" else self._lines
        readers = [
            asyncio.create_task(take(reader, port))
            for reader, port in ((command.stdout, "stdout"), (command.stderr, "stderr"))
        ]
        try:
            await self._ended(set(readers))
            written = [await reader for reader in readers]
        finally:
            for reader in readers:
                reader.cancel()
            await asyncio.wait(readers)
            if command.stdin is not None:
                command.stdin.close()
        code, number = command.ended.result()
        self._outcome |= {"code": code, "signal": signal.Signals(number).name if number else None}
        self._outcome["duration_s"] = round(time.monotonic() - begun_s, 3)
        self.why = self._fault()
        if config.output == "whole":
            await self._send(self._decoded(written[0]), "stdout", {"code": code})
            if written[1]:
                await self._send(self._decoded(written[1]), "stderr", {"code": code})
        await self._send(self._outcome, "result", {})

    async def _ended(self, reading: set[asyncio.Task[bytes]]) -> None:
        """Wait for its end; kill it when it is out of time."""
        command, config = self._command, self._config
        watched: set[asyncio.Future] = {command.ended, *reading}
        until_s = time.monotonic() + config.timeout_s if config.timeout_s else None
        while not command.ended.done():
            left_s = None if until_s is None else max(0.0, until_s - time.monotonic())
            done, _ = await asyncio.wait(watched, timeout=left_s, return_when=asyncio.FIRST_COMPLETED)
            for reader in reading & done:  # an output may be closed long before it ends
                reader.result()  # or sending what it wrote failed
                watched.discard(reader)
            if not done:
                if self._outcome["timed_out"]:
                    await command.kill(signal.SIGKILL)
                    until_s = None
                else:
                    self._outcome["timed_out"] = True
                    await command.kill(signal.SIGTERM)
                    until_s = time.monotonic() + config.kill_after_s

    async def _blocks(self, reader: asyncio.StreamReader) -> AsyncIterator[bytes]:
        """What it writes, to the end: or until nothing comes any more of what it left behind."""
        ended = self._command.ended
        while True:
            reading = asyncio.create_task(reader.read(_BLOCK))
            waited: set[asyncio.Future] = {reading, ended}
            try:
                await asyncio.wait(waited, return_when=asyncio.FIRST_COMPLETED)
                if not reading.done():
                    await asyncio.wait({reading}, timeout=_CLOSE_S)
            finally:
                if not reading.done():
                    reading.cancel()
            if not reading.done() or not reading.result():
                return
            yield reading.result()

    async def _whole(self, reader: asyncio.StreamReader, _: str) -> bytes:
        parts: list[bytes] = []
        async for part in self._blocks(reader):
            self._sizes += len(part)
            if self._sizes > self._config.max_output_bytes:
                parts.append(part[: -(self._sizes - self._config.max_output_bytes)])
                await self._too_much()
                break
            parts.append(part)
        return b"".join(parts)

    async def _lines(self, reader: asyncio.StreamReader, port: str) -> bytes:
        async for line in _lines(self._blocks(reader), self._config.max_output_bytes):
            if line is None:
                await self._too_much()
                break
            await self._send(self._decoded(line), port, {})
        return b""

    async def _too_much(self) -> None:
        self._outcome["too_much"] = True
        await self._command.kill(signal.SIGKILL)

    def _fault(self) -> str:
        outcome, limit = self._outcome, self._config.max_output_bytes
        if outcome["too_much"]:
            what = "wrote more" if self._config.output == "whole" else "wrote a line of more"
            return f"it {what} than max_output_bytes = {limit} and was killed"
        if outcome["timed_out"]:
            return f"not done after timeout_s = {self._config.timeout_s:g}: killed"
        if outcome["signal"]:
            return f"ended by {outcome['signal']}"
        return f"ended with code {outcome['code']}" if outcome["code"] else ""

    async def _send(self, payload: Any, port: str, meta: dict) -> None:
        message = self._message
        if message is None:
            await self._node.send(payload, port=port, meta=meta)
        else:
            await self._node.send(message.derive(payload, meta={**message.meta, **meta}), port=port)

    def _decoded(self, content: bytes) -> str | bytes:
        encoding = self._config.encoding
        return content if encoding == "bytes" else content.decode(encoding, "replace")


async def _lines(blocks: AsyncIterator[bytes], longest: int) -> AsyncIterator[bytes | None]:
    """Lines without their ends; None in place of one that is too long, which is the last."""
    rest = b""
    async for block in blocks:
        *lines, rest = (rest + block).split(b"\n")
        for line in lines:
            if len(line) > longest:
                yield None
                return
            yield line.removesuffix(b"\r")
        if len(rest) > longest:
            yield None
            return
    if rest:
        yield rest


def _as_argument(value: Any) -> str:
    if isinstance(value, str):
        return value
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        return str(value)
    raise GiveUp(f"an argument must be a text or a number, got {type(value).__name__}")


def _check_argument(word: str) -> None:
    if "\0" in word:
        raise ValueError(f"an argument can't hold a NUL character: {word[:40]!r}")
    if len(word.encode()) > _LARGEST_ARGUMENT:
        raise ValueError(
            f"an argument of {len(word)} characters; the system takes {_LARGEST_ARGUMENT} bytes: use stdin"
        )
