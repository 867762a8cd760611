from typing import Any, Literal

from pydantic import model_validator

from flowcore.node import GiveUp, In, Message, Node, NodeConfig, Out, Outputs, field
from flowcore.node.paths import MessagePath
from flowcore_nodes.core.numbers import number_of, plain
from flowcore_nodes.core.path_fields import ReadPathOrEmpty, WritePath

_COUNT, _ROLLOVERS = 0, 1  # what self.state holds for a series


class Counter(Node):
    """Count messages, each exactly once, also when the node is killed meanwhile.

    Each message goes on with the count. The message that reaches `limit` goes out of `limit`, too; then the count stays
    there, begins again (what is over the limit is kept), or goes on. `meta.reset` sets the count of its series back to
    `start`, or to the number that it is, and its message goes on with that.
    """

    type = "core/counter"
    title = "Counter"
    category = "function"
    icon = "tally-5"
    stateful = True

    class Config(NodeConfig):
        step: float = field(
            1.0, description='How much a message counts; negative: downwards; {"$message": path} for parts a message',
            dynamic=True,
        )  # fmt: skip
        start: float = field(0.0, description="What counting begins at")
        limit: float | None = field(None, description="Count that is told on `limit`; empty: none")
        at_limit: Literal["stop", "rollover", "continue"] = field(
            "rollover", description="There the count stays; begins again at start; or goes on"
        )
        key: ReadPathOrEmpty = field(
            "", description="Path of what is counted apart, such as topic or machine; empty: one count"
        )
        to: WritePath = field("payload", description="Where the count goes: payload, meta.count, payload.count ...")
        max_keys: int = field(10_000, gt=0, le=100_000, description="Most counts; messages of further keys are errors")

        @model_validator(mode="after")
        def _limit_can_be_reached(self) -> "Counter.Config":
            if self.limit is not None and self.limit == self.start:
                raise ValueError(f"start and limit are both {self.limit:g}")
            step = self.step
            if isinstance(step, (int, float)):
                if step == 0:
                    raise ValueError("step must not be 0")
                if self.limit is not None and (self.limit > self.start) != (step > 0):
                    raise ValueError(
                        f"counting from {self.start:g} in steps of {step:g} never reaches the limit {self.limit:g}"
                    )
            return self

    in_ = In()
    out = Out(description="each message, with the count")
    limit = Out(description="the message that reached the limit; meta.rollovers says how often it was reached")

    def on_start(self) -> None:
        self._to = MessagePath(self.config.to)
        self._key = MessagePath(self.config.key).find if self.config.key else None

    def on_reconfigure(self, old: Any) -> None:
        self.on_start()

    async def on_message(self, message: Message) -> Message | Outputs:
        label = self._key(message, "") if self._key else ""
        key = label if type(label) is str else str(label)
        if "reset" in message.meta:
            return self._reset(key, message)
        step = self.setting("step", message)
        if type(step) not in (int, float) or step != step or abs(step) == float("inf"):
            raise GiveUp(f"step must be a number, got {step!r}")
        kept = self.state.get(key)
        if kept is None and len(self.state) >= self.config.max_keys:
            raise GiveUp(f"{key!r} would be count {len(self.state) + 1}, max_keys is {self.config.max_keys}")
        before, rollovers = kept or (self.config.start, 0)
        count = before + step
        limit = self.config.limit
        is_reached = limit is not None and _is_past(count, limit, self.config.start)
        if is_reached and self.config.at_limit == "continue" and _is_past(before, limit, self.config.start):
            is_reached = False  # it was told before
        shown = count
        if is_reached and self.config.at_limit != "continue":
            is_reached = self.config.at_limit == "rollover" or before != limit
            shown = count = limit
            if self.config.at_limit == "rollover":
                span = limit - self.config.start
                times, rest = divmod(before + step - self.config.start, span)
                count, rollovers = self.config.start + rest, rollovers + int(times)
        self.state[key] = [plain(count), rollovers]
        made = self._made(message, shown)
        if not is_reached:
            return made
        if self.config.at_limit == "rollover":
            made.meta = {**made.meta, "rollovers": rollovers}
        return Outputs(out=made, limit=made)

    def _reset(self, key: str, message: Message) -> Message:
        wanted = message.meta["reset"]
        count = self.config.start if isinstance(wanted, bool) else number_of(wanted)
        if count is None:
            count = self.config.start
        if self._key is not None and not key:
            self.state.clear()  # no key: all of them
        elif count == self.config.start:
            self.state.pop(key, None)
        else:
            self.state[key] = [plain(count), 0]
        meta = {name: value for name, value in message.meta.items() if name != "reset"}
        made = self._made(message, count)
        made.meta = meta if self._to.root != "meta" else {k: v for k, v in made.meta.items() if k != "reset"}
        return made

    def _made(self, message: Message, count: float) -> Message:
        made = message.derive()
        self._to.set(made, plain(count))
        return made


def _is_past(count: float, limit: float, start: float) -> bool:
    return count >= limit if limit > start else count <= limit
