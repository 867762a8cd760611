"""`core/function`: a Python script of the user's, run in a worker that is locked in."""

import logging
from collections.abc import AsyncIterator
from typing import Any

from flowcore.node import In, Message, Node, NodeConfig, Outputs, field, script_of
from flowcore.node.script_access import handles_one_by_one

_LEVELS = {"info": logging.INFO, "warning": logging.WARNING, "error": logging.ERROR}


class ScriptSaid(Exception):
    """`node.error(text, msg)` in a script: the script goes on, a catch node gets the message."""


class Function(Node):
    """Run a Python script on each message: no files, no network, 5 seconds and 256 MB a message.

    The script is the body of a function with `msg`: change `msg.payload`, `msg.topic` or `msg.meta` (any other
    attribute is an entry of `meta`) and `return msg`, or return a value, or nothing to send nothing. `yield` and
    `node.send(...)` send several. With more than one output, return a list with one place for each: `[msg, None]`; a
    list inside sends several. With one output, a list is a value. A dict of just payload, topic and meta is a message.

    `node.log`, `node.warn`, `node.error`, `node.status("text", "warn")`; `print` goes to the node's log. `context.get`
    and `context.set` keep values over restarts, each message counted once; `flow` and `global_` are shared with other
    nodes; `env` is the map from the settings. `json`, `math`, `re`, `datetime`, `time`, `random` and `statistics` are
    at hand, more can be imported. A script may define `on_message(msg)`, `on_start()` and `on_stop()` instead.

    A message that takes too long, or whose script raises, goes to the error port with the script's line; the others
    go on. Three that had to be ended in a minute pause the script for half a minute.
    """

    type = "core/function"
    title = "function"
    category = "core"
    icon = "function"
    stateful = True
    script = True
    context = ("flow", "global")
    outputs_from = "outputs"

    class Config(NodeConfig):
        script: str = field("return msg", widget="code", description="Python: the body of a function with `msg`")
        outputs: int | list[str] = field(
            ("out",), description="Names of the outputs, or how many there are: out1, out2, ..."
        )
        env: dict[str, Any] = field({}, description="Values that the script sees as `env`")
        timeout_s: float = field(5.0, gt=0, le=300, description="Seconds that one message may take")
        memory_mb: int = field(256, ge=16, le=4096, description="Memory that the script may use, in MB")

    in_ = In(description="What the script gets as `msg`")

    async def on_start(self) -> None:
        config = self.config
        outputs = config.outputs
        self._names = [f"out{k}" for k in range(1, outputs + 1)] if isinstance(outputs, int) else list(outputs)
        self._script = script_of(
            self,
            config.script,
            outputs=self._names,
            env=config.env,
            deadline_s=config.timeout_s,
            memory_mb=config.memory_mb,
        )
        self._is_settled = True  # what the worker's context has is in self.state too
        self._is_ill = False
        await self._script.start()
        if self._script.missing:
            self.log.warning("the script runs without these layers of its sandbox: %s", "; ".join(self._script.missing))
        self.after(0, self._begin)  # the state is here then; what `on_go` sends could wait for a resume

    async def _begin(self) -> AsyncIterator[Any]:
        for output in self._made(await self._script.begin(), None):
            yield output

    async def on_message(self, message: Message) -> AsyncIterator[Any]:
        """One message, for nodes with retries, a time-out or a breaker in their settings."""
        async for output in self._handle([message], alone=True):
            yield output

    @property
    def on_batch(self) -> Any:
        """What arrived together goes over together, unless a setting asks for one by one."""
        return None if handles_one_by_one(self) else self._handle

    async def _handle(self, messages: list[Message], alone: bool = False) -> AsyncIterator[Any]:
        if not self._is_settled:
            self._script.close()  # what it made last was undone here; a new worker begins from the state
        self._is_settled = False
        results = await self._script.call([(message.payload, message.topic, message.meta) for message in messages])
        is_stale = False
        for message, result in zip(messages, results, strict=True):
            try:
                made = self._made(result, message)
            except (
                ValueError
            ) as e:  # more than self.state takes: this message has failed, and the worker knows too much
                self.report(e, message)
                is_stale = True
                continue
            for output in made:
                yield output
            if result.error is not None:
                self._show(result.error)
                if alone:
                    self._is_settled = True
                    raise result.error
                self.report(result.error, message)
            elif self._is_ill:
                self._is_ill = False
                self.set_status("runs again", "ok")
        self._is_settled = not is_stale

    def _made(self, result: Any, message: Message | None) -> list[Any]:
        """Apply what a message changed and said; its outputs, as the engine takes them."""
        if result.changes:
            self._change(result.changes)
        for kind, text, extra in result.notes:
            if kind == "status":
                self.set_status(text, extra or "ok")
            elif kind == "error" and extra is True and message is not None:
                self.report(ScriptSaid(text), message)
            else:
                self.log.log(_LEVELS[kind], "%s", text)
        made: list[Any] = []
        for port, payload, topic, meta in result.outputs:
            if message is None:
                output = Message(payload, topic, meta)
            else:
                output = message.derive(payload, topic=topic, meta=meta)
            made.append(output if port == 0 else Outputs({self._names[port]: output}))
        return made

    def _change(self, changes: dict[str, list]) -> None:
        """Put the changes of one message into the state: all, or (ValueError: it is full) none."""
        before = {key: self.state[key] for key in changes if key in self.state}
        try:
            for key, value in changes.items():
                if value:
                    self.state[key] = value[0]
                else:
                    self.state.pop(key, None)
        except ValueError:
            for key in changes:
                self.state.pop(key, None)
            self.state.update(before)
            raise

    def _show(self, error: Exception) -> None:
        if type(error).__name__ in ("ScriptTimeout", "ScriptKilled", "ScriptPaused"):
            self._is_ill = True
            self.set_status(str(error)[:200], "error")

    async def on_stop(self) -> None:
        result = await self._script.stop()
        if result is not None and self._is_settled:
            for output in self._made(result, None):
                if isinstance(output, Outputs):
                    ((port, output),) = output.items()
                    await self.send(output, port=port)
                else:
                    await self.send(output)
