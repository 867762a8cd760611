import math
from typing import Any

from pydantic import field_validator, model_validator

from flowcore.node import GiveUp, In, Message, Node, NodeConfig, Out, Outputs, field
from flowcore.node.paths import MessagePath

# What self.state holds for a series that is not simply clear: a list of these, by key.
LABEL, RAISED, SINCE_S, VALUE, LIMIT, LAST_S, TOPIC = range(7)


class Threshold(Node):
    """Raise an alarm when a number crosses a limit, and clear it when it has come back.

    The number raises above `above` or below `below`; it clears only when it has come back past the clear level
    (hysteresis), so that a value that trembles at the limit raises once. It must stay there for the hold time, and
    after one alarm of a series no other is raised for the cooldown. Alarms survive a restart. NaN and infinity change
    nothing; a value that is no number is an error. Each change is a map on `out`, and again on `raised` or `cleared`.
    """

    type = "core/threshold"
    title = "Threshold"
    category = "function"
    icon = "bell-ring"
    stateful = True

    class Config(NodeConfig):
        above: float | None = field(
            None, description="Raise when the number is above this; empty: no upper limit", dynamic=True
        )
        below: float | None = field(
            None, description="Raise when the number is below this; empty: no lower limit", dynamic=True
        )
        clear_below: float | None = field(
            None, description="An alarm of above clears when the number is at or below this; empty: at `above`"
        )
        clear_above: float | None = field(
            None, description="An alarm of below clears when the number is at or above this; empty: at `below`"
        )
        hold_s: float = field(
            0.0, ge=0, description="How long it must stay past the limit before it raises, in seconds"
        )
        clear_hold_s: float = field(0.0, ge=0, description="How long it must stay past the clear level, in seconds")
        cooldown_s: float = field(0.0, ge=0, description="Shortest time between two alarms of a series, in seconds")
        key: str = field("", description="Path of what tells series apart, such as machine or topic; empty: one series")
        max_keys: int = field(1000, gt=0, le=100_000, description="Most series in alarm or on the way to it")
        # last in the class, because it hides the function of that name
        field: str = field("payload", description="Path of the number: payload, temp_c, payload.temp_c ...")

        @field_validator("field", "key")
        @classmethod
        def _is_path(cls, path: str) -> str:
            if path:
                MessagePath(path)
            return path

        @model_validator(mode="after")
        def _limits_fit(self) -> "Threshold.Config":
            above, below = self.above, self.below
            if self.clear_below is not None and isinstance(above, float) and self.clear_below > above:
                raise ValueError(f"clear_below ({self.clear_below:g}) must not be higher than above ({above:g})")
            if self.clear_above is not None and isinstance(below, float) and self.clear_above < below:
                raise ValueError(f"clear_above ({self.clear_above:g}) must not be lower than below ({below:g})")
            if isinstance(above, float) and isinstance(below, float) and below >= above:
                raise ValueError(f"below ({below:g}) must be lower than above ({above:g})")
            return self

    in_ = In(description="a number, or a map that holds one")
    out = Out(dict, "each change: state, key, value, limit, side, at_s, topic")
    raised = Out(dict, "only alarms that were raised")
    cleared = Out(dict, "only alarms that were cleared")

    def on_start(self) -> None:
        self._timers: dict[str, Any] = {}
        self._read_config()
        self.after(0, self._adopt)

    def on_reconfigure(self, old: Any) -> None:
        self._read_config()
        self.after(0, self._adopt)

    def _read_config(self) -> None:
        if self.config.above is None and self.config.below is None:  # here, where references have been put back
            raise ValueError("a threshold needs above, below or both")
        self._number = MessagePath(self.config.field).get
        self._key = MessagePath(self.config.key).get if self.config.key else None
        self._is_dynamic = isinstance(self.config.above, dict) or isinstance(self.config.below, dict)

    async def _adopt(self) -> None:
        """Go on waiting for what was on the way to an alarm, or back, when the node ended."""
        for key in list(self._timers):
            self._cancel(key)
        for key in self.state:
            self._wait(key, self.state[key])

    async def on_message(self, message: Message) -> Any:
        value = self._number(message)
        if type(value) is not float and type(value) is not int:
            raise GiveUp(f"{self.config.field} must be a number, got {type(value).__name__} {str(value)[:40]!r}")
        if not math.isfinite(value):
            return None
        label = self._key(message) if self._key else ""
        key = label if type(label) is str else str(label)
        kept = self.state.get(key)
        side, limit = self._side(value, message)
        if kept is None and not side:
            return None
        return self._judge(key, label, kept, value, side, limit, message)

    def _side(self, value: float, message: Message) -> tuple[str, float]:
        """Which limit the number is past: "above", "below" or ""; and the limit."""
        above, below = self.config.above, self.config.below
        if self._is_dynamic:
            above, below = self.setting("above", message), self.setting("below", message)
        if above is not None and value > above:
            return "above", above
        if below is not None and value < below:
            return "below", below
        return "", 0.0

    def _judge(
        self, key: str, label: Any, kept: list | None, value: float, side: str, limit: float, message: Message
    ) -> Outputs | None:
        now_s = self.now_s()
        if kept is None:
            if len(self.state) >= self.config.max_keys:
                self._forget_cooled(now_s)
                if len(self.state) >= self.config.max_keys:
                    raise GiveUp(f"{key!r} would be alarm {len(self.state) + 1}, max_keys is {self.config.max_keys}")
            kept = [label, "", None, value, limit, None, message.topic]
        state = list(kept)
        state[VALUE], state[TOPIC] = value, message.topic
        if state[RAISED]:
            turning, hold_s = self._has_come_back(state, value), self.config.clear_hold_s
        else:
            turning, hold_s = bool(side), self.config.hold_s
            if side:
                if (kept[VALUE] > kept[LIMIT]) != (side == "above"):
                    state[SINCE_S] = None  # from one side straight to the other: hold begins anew
                    self._cancel(key)
                state[LIMIT] = limit
        if not turning:
            state[SINCE_S] = None
        elif state[SINCE_S] is None:
            state[SINCE_S] = now_s
        if turning and now_s >= self._due_s(state, hold_s):
            return self._turn(key, state, side, message)
        self._keep(key, state, now_s)
        return None

    def _has_come_back(self, state: list, value: float) -> bool:
        if state[RAISED] == "above":
            level = self.config.clear_below
            return value <= (state[LIMIT] if level is None else level)
        level = self.config.clear_above
        return value >= (state[LIMIT] if level is None else level)

    def _due_s(self, state: list, hold_s: float) -> float:
        """When a series that is turning will have turned: held long enough, and cooled down when it raises."""
        due_s = state[SINCE_S] + hold_s
        if not state[RAISED] and state[LAST_S] is not None:
            due_s = max(due_s, state[LAST_S] + self.config.cooldown_s)
        return due_s

    def _turn(self, key: str, state: list, side: str, message: Message | None) -> Outputs:
        now_s = self.now_s()
        event = {
            "state": "cleared" if state[RAISED] else "raised",
            "key": state[LABEL],
            "value": state[VALUE],
            "limit": state[LIMIT],
            "side": state[RAISED] or side,
            "at_s": now_s,
            "topic": state[TOPIC],
        }
        if state[RAISED]:
            state[RAISED] = ""
        else:
            state[RAISED], state[LAST_S] = side, now_s
        state[SINCE_S] = None
        self._keep(key, state, now_s)
        alarms = sum(1 for kept in self.state.values() if kept[RAISED])
        self.set_status(f"{alarms} raised" if alarms else "clear", "warn" if alarms else "ok")
        made = message.derive(event) if message else Message(event, state[TOPIC])
        return Outputs({"out": made, event["state"]: made})

    def _keep(self, key: str, state: list, now_s: float) -> None:
        """Write the state of a series; one that is clear and cooled down is forgotten."""
        cooling = state[LAST_S] is not None and now_s < state[LAST_S] + self.config.cooldown_s
        if state[RAISED] or state[SINCE_S] is not None or cooling:
            written = self.state.get(key)
            if written is None or state[SINCE_S] is not None or _without_value(written) != _without_value(state):
                self.state[key] = state
            self._wait(key, state)
        else:
            self.state.pop(key, None)
            self._cancel(key)

    def _wait(self, key: str, state: list) -> None:
        """Set the timer of a series that turns by itself when no message comes."""
        if state[SINCE_S] is None:
            self._cancel(key)
        elif key not in self._timers:
            due_s = self._due_s(state, self.config.clear_hold_s if state[RAISED] else self.config.hold_s)
            self._timers[key] = self.after(max(0.0, due_s - self.now_s()), self._held, key)

    def _cancel(self, key: str) -> None:
        timer = self._timers.pop(key, None)
        if timer is not None:
            timer.cancel()

    async def _held(self, key: str) -> Outputs | None:
        """The hold time is over, and the last number was still past the level."""
        self._timers.pop(key, None)
        kept = self.state.get(key)
        if kept is None or kept[SINCE_S] is None:
            return None
        hold_s = self.config.clear_hold_s if kept[RAISED] else self.config.hold_s
        if self.now_s() < self._due_s(kept, hold_s) - 0.001:
            self._wait(key, kept)
            return None
        side = "above" if kept[VALUE] > kept[LIMIT] else "below"
        return self._turn(key, list(kept), side, None)

    def _forget_cooled(self, now_s: float) -> None:
        for key in self.state:
            kept = self.state[key]
            if not kept[RAISED] and kept[SINCE_S] is None and now_s >= (kept[LAST_S] or 0) + self.config.cooldown_s:
                del self.state[key]


def _without_value(state: list) -> list:
    """What must be written of a series that is not turning."""
    return state[:VALUE] + state[LIMIT:TOPIC]
