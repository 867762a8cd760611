"""The node that stands in the place of others in a flow test, and its plug-in, which only the test runtime sees."""

import asyncio
import json
from typing import Any

from flowcore.node import Message, Node, NodeConfig, Outputs, field, hookimpl
from flowcore.testing.match import differences, told

TYPE = "test/stub"
GOT, PUT = "got_", "put_"  # before a port's name: an output that says what came in, an input for what shall go out


class StubFailed(Exception):
    """A stub fails as its case asks, or has no answer."""


class Stub(Node):
    """Stand in another node's place: tell what comes in, answer as a case says."""

    type = TYPE
    outputs_from = "outputs"
    inputs_from = "inputs"
    outside = False

    class Config(NodeConfig):
        inputs: list[str] = field([], description="Inputs of the node whose place this is, and `put_<output>`")
        outputs: list[str] = field([], description="Its outputs, and `got_<input>`")
        does: str = field("{}", description="What it answers, as JSON: `flowcore.testing.model.Stub`")

    def on_start(self) -> None:
        self._does: dict[str, Any] = json.loads(self.config.does)
        self._failed = self._replied = 0
        named = self._does.get("port")
        self._port = named or next((name for name in self.config.outputs if not name.startswith(GOT)), None)

    async def on_message(self, message: Message) -> Any:
        if message.port.startswith(PUT):
            return Outputs({message.port.removeprefix(PUT): message.derive()})
        await self.send(message.derive(), port=GOT + message.port)
        if self._does.get("never"):
            with self.engine.clock.standing():
                await asyncio.Event().wait()
        if self._failed < self._does.get("fails", 0):
            self._failed += 1
            raise StubFailed(self._does["error"])
        answers = self._answers(message.payload)
        return Outputs({self._port: message.derive(answers[0])}) if answers and self._port else None

    def _answers(self, payload: Any) -> list[Any]:
        """One answer, or none."""
        does = self._does
        if "replies" in does:
            replies, at = does["replies"], self._replied
            self._replied += 1
            if at < len(replies):
                return [replies[at]]
            if does["then"] == "fail":
                raise StubFailed(f"it has {len(replies)} replies, and this is message {at + 1}")
            return replies[-1:] if does["then"] == "repeat" else []
        if "answers" in does:
            for answer in does["answers"]:
                if not differences(answer["when"], payload):
                    return [answer["reply"]]
            if "otherwise" not in does:
                raise StubFailed(f"no answer is for {told(payload)}")
            return [does["otherwise"]]
        return [does["reply"]] if "reply" in does else []


@hookimpl
def flowcore_node_types() -> list[type[Node]]:
    """The stub."""
    return [Stub]
