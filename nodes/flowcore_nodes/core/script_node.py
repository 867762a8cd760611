"""What nodes with a script have in common: messages go to its worker, results come back.

ScriptNode   core/function, core/javascript: a script with state that sends, says, waits
ValueNode    core/expression, core/template: one value a message
"""

import logging
from collections.abc import AsyncIterator
from typing import Any

from flowcore.node import Message, Node, Outputs, script_of
from flowcore.node.script_access import handles_one_by_one

_LEVELS = {"info": logging.INFO, "warning": logging.WARNING, "error": logging.ERROR}


class ScriptSaid(Exception):
    """`node.error(text, msg)` in a script: the script goes on, a catch node gets the message."""


class ScriptNode(Node):
    """A node that runs a script with state; a class says the language, and has the settings named here."""

    category = "function"
    stateful = True
    script = True
    context = ("flow", "global")
    outputs_from = "outputs"
    language = "python"

    def options(self) -> dict[str, Any]:
        """What the language takes besides the script."""
        return {}

    def item(self, message: Message) -> tuple[Any, ...]:
        """A message as the language takes it."""
        return message.payload, message.topic, message.meta

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
            language=self.language,
            options=self.options(),
        )
        self._is_settled = True  # what the worker's context has is in self.state too
        self._is_ill = False
        self._timer: Any = None
        await self._script.start()
        if self._script.missing:
            self.log.warning("the script runs without these layers of its sandbox: %s", "; ".join(self._script.missing))
        self.after(0, self._begin)  # the state is here then; what `on_go` sends could wait for a resume

    async def _begin(self) -> AsyncIterator[Any]:
        result = await self._script.begin()
        if result.due_s is not None:  # nothing, where a message was quicker and has begun it
            self._tick_in(result.due_s)
        for output in self._made(result, None):
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
        results = await self._script.call([self.item(message) for message in messages])
        self._tick_in(results[-1].due_s)
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
                is_stale = is_stale or "out of memory" in str(result.error)  # what fills it would stay
                if alone:
                    self._is_settled = not is_stale
                    raise result.error
                self.report(result.error, message)
            elif self._is_ill:
                self._is_ill = False
                self.set_status("runs again", "ok")
        self._is_settled = not is_stale

    # -- timers of the script: it says when the next is due, and is told when the time has come

    def _tick_in(self, due_s: float | None) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if due_s is not None:
            self._timer = self.after(due_s, self._tick)

    async def _tick(self) -> AsyncIterator[Any]:
        self._timer = None
        if not self._is_settled:
            return  # its worker is given up, and its timers with it
        self._is_settled = False
        result = await self._script.tick()
        self._tick_in(result.due_s)
        if result.error is not None:
            self._show(result.error)
            self.report(result.error)
        for output in self._made(result, None):
            yield output
        self._is_settled = True

    # -- results

    def _made(self, result: Any, message: Message | None) -> list[Any]:
        """Apply what a message changed and said; its outputs, as the engine takes them."""
        if result.changes:
            self._change(result.changes)
        for kind, text, extra in result.notes:
            if kind == "status":
                self.set_status(text, extra or "ok")
            elif kind == "error" and extra is not None:
                self._report(text, extra, message)
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

    def _report(self, text: str, about: Any, message: Message | None) -> None:
        """An error that the script told: about the message in work, or about one that it gave."""
        if isinstance(about, list):
            payload, topic, meta = about
            if message is None:
                message = Message(payload, topic, meta)
            elif [message.payload, message.topic, message.meta] != about:
                message = message.derive(payload, topic=topic, meta=meta)
        self.report(ScriptSaid(text), message)

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
        self._tick_in(None)
        result = await self._script.stop()
        if result is not None and self._is_settled:
            for output in self._made(result, None):
                if isinstance(output, Outputs):
                    ((port, output),) = output.items()
                    await self.send(output, port=port)
                else:
                    await self.send(output)


class ValueNode(Node):
    """A node whose script gives each message a value; a class starts `self._script`, and says what becomes of it."""

    category = "function"
    script = True
    context = ("flow", "global")

    _script: Any

    def made(self, message: Message, value: Any) -> Message | None:
        """What is sent for a message and the value that the script gave it. May raise: its error then."""
        raise NotImplementedError

    async def on_message(self, message: Message) -> Any:
        """One message, for nodes with retries, a time-out or a breaker in their settings."""
        (result,) = await self._call([message])
        if result.error is not None:
            raise result.error
        return self.made(message, result.outputs[0][1])

    @property
    def on_batch(self) -> Any:
        """What arrived together goes over together, unless a setting asks for one by one."""
        return None if handles_one_by_one(self) else self._handle

    async def _handle(self, messages: list[Message]) -> list[Message]:
        made = []
        for message, result in zip(messages, await self._call(messages), strict=True):
            try:
                if result.error is not None:
                    raise result.error
                if (output := self.made(message, result.outputs[0][1])) is not None:
                    made.append(output)
            except Exception as e:  # of this message alone
                self.report(e, message)
        return made

    async def _call(self, messages: list[Message]) -> list[Any]:
        return await self._script.call([(each.payload, each.topic, each.meta) for each in messages])

    def on_stop(self) -> None:
        self._script.close()
