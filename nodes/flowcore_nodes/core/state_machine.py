from collections import Counter
from typing import Any

from pydantic import model_validator

from flowcore.node import GiveUp, In, Message, Node, NodeConfig, Out, Outputs, field
from flowcore.node.paths import MessagePath
from flowcore_nodes.core.conditions import Asked, Op, check_condition
from flowcore_nodes.core.path_fields import ReadPath, ReadPathOrEmpty
from flowcore_nodes.core.values import Operand, check_value

_NAME, _SINCE_S, _TOPIC = range(3)  # what self.state holds of a machine, by key

_ANY = "*"


class State(NodeConfig):
    """A state, what is sent when it is entered, and how long it lasts."""

    name: str = field(..., min_length=1, max_length=100, description="Name of the state, such as running")
    output: Any = field(
        None,
        description='Payload that is sent when it is entered: a literal, or {"$message": path}, {"$flow": key}, '
        '{"$global": key}; empty: a map of state, previous, event, key',
        dynamic=True,
    )
    timeout_s: float | None = field(
        None, gt=0, le=31_536_000, description="After so long in it, in seconds, it is left; empty: never by itself"
    )
    timeout_to: str = field("", description="The state that follows after timeout_s")


class Transition(NodeConfig):
    """The way from one state to another, when an event comes and its condition holds."""

    from_state: str = field(..., min_length=1, description="The state it leaves; * for any")
    event: str = field("", description="The event that takes it, as text; empty: any message whose condition holds")
    to: str = field(..., min_length=1, description="The state it enters; its own name: it is entered again")
    path: ReadPath = field("payload", description="Condition: what is looked at, such as payload.temp_c")
    op: Op | None = field(None, description="Condition: how it is compared, as in a switch; empty: no condition")
    value: Any = field(
        None,
        description='Condition: with what; a literal, {"$message": path}, {"$flow": key} or {"$global": key}',
        dynamic=True,
    )
    value2: Any = field(None, description="Condition: the other end of between", dynamic=True)

    @model_validator(mode="after")
    def _is_complete(self) -> "Transition":
        if self.op is None:
            if self.value is not None or not self.event:
                raise ValueError("a transition needs an event, or a condition with op")
            return self
        check_condition(self.op, self.value, self.value2)
        return self


class StateMachine(Node):
    """Be in one of several states, and change it by events, conditions and time.

    Of the transitions from the state it is in, the first whose event comes and whose condition holds is taken. Entering
    a state sends its output; `meta.state` and `meta.previous` go along. What no transition takes goes out of `ignored`.
    The state, and since when, survives restarts and kills: a time-out that fell due meanwhile is made up for. With a
    key there is a machine for each. `meta.reset` goes back to the initial state.
    """

    type = "core/state-machine"
    title = "State machine"
    category = "function"
    icon = "workflow"
    stateful = True
    context = ("flow", "global")

    class Config(NodeConfig):
        states: list[State] = field(..., description="All states", min_length=1, max_length=256)
        transitions: list[Transition] = field([], description="Ways between them, first match first", max_length=1024)
        initial: str = field("", description="The state it begins in; empty: the first")
        event: ReadPath = field(
            "payload", description="Where the name of the event is: payload, topic, payload.event ..."
        )
        key: ReadPathOrEmpty = field(
            "", description="Path of what has a machine of its own, such as topic or machine; empty: one machine"
        )
        max_keys: int = field(1000, gt=0, le=100_000, description="Most machines; a further one is an error")

        @model_validator(mode="after")
        def _names_are_known(self) -> "StateMachine.Config":
            counts = Counter(state.name for state in self.states)
            for name, count in counts.items():
                if count > 1 or name == _ANY:
                    raise ValueError(f"the state {name!r} is there twice" if count > 1 else "* stands for any state")
            have = f"(there are: {', '.join(list(counts)[:20])})"
            if self.initial and self.initial not in counts:
                raise ValueError(f"initial: no state {self.initial!r} {have}")
            for state in self.states:
                check_value(state.output)
                if (state.timeout_s is None) == bool(state.timeout_to):
                    raise ValueError(f"the state {state.name!r} needs both timeout_s and timeout_to, or neither")
                if state.timeout_to and state.timeout_to not in counts:
                    raise ValueError(f"timeout_to of {state.name!r}: no state {state.timeout_to!r} {have}")
            for number, transition in enumerate(self.transitions, 1):
                for name in (transition.from_state, transition.to):
                    if name not in counts and not (name == _ANY and transition.from_state == _ANY != transition.to):
                        raise ValueError(f"transition {number}: no state {name!r} {have}")
            return self

    in_ = In(description="an event")
    out = Out(description="the output of each state that is entered")
    ignored = Out(description="messages that no transition takes, as they are")

    def on_start(self) -> None:
        self._timers: dict[str, Any] = {}
        self._read_config()

    async def on_reconfigure(self, old: Any) -> None:
        self._read_config()
        await self.on_go()

    def _read_config(self) -> None:
        config = self.config
        self._states = {state.name: state for state in config.states}
        self._outputs = {state.name: Operand(self, state.output) for state in config.states}
        self._initial = config.initial or config.states[0].name
        self._event = MessagePath(config.event).find
        self._key = MessagePath(config.key).find if config.key else None
        self._ways: dict[str, list[_Way]] = {name: [] for name in self._states}
        for transition in config.transitions:
            way = _Way(self, transition)
            for name in self._states if transition.from_state == _ANY else [transition.from_state]:
                self._ways[name].append(way)

    async def on_go(self) -> None:
        """Go on where the process before, or the config before, has left it."""
        for timer in self._timers.values():
            timer.cancel()
        self._timers.clear()
        if self._key is None and "" not in self.state:
            self._put("", self._initial, "")
        for key in self.state:
            if self.state[key][_NAME] not in self._states:
                self._put(key, self._initial, self.state[key][_TOPIC])
            self._wait(key)
        self._show()

    async def on_message(self, message: Message) -> Outputs | None:
        label = self._key(message, "") if self._key else ""
        key = label if type(label) is str else str(label)
        kept = self.state.get(key)
        if kept is None:
            if len(self.state) >= self.config.max_keys:
                raise GiveUp(f"{key!r} would be machine {len(self.state) + 1}, max_keys is {self.config.max_keys}")
            kept = self._put(key, self._initial, message.topic)
            self._wait(key)
        if message.meta.get("reset"):
            return await self._enter(key, self._initial, "reset", message)
        event = self._event(message)
        for way in self._ways[kept[_NAME]]:
            if await way.is_open(event, message):
                return await self._enter(key, way.to, event, message)
        return Outputs(ignored=message)

    async def _enter(self, key: str, name: str, event: Any, message: Message) -> Outputs:
        previous = self.state[key][_NAME]
        self._put(key, name, message.topic)
        self._wait(key)
        self._show()
        payload = await self._outputs[name].fetch(message)
        if self._states[name].output is None:
            payload = {"state": name, "previous": previous, "event": event, "key": key}
        meta = {word: value for word, value in message.meta.items() if word != "reset"}
        return Outputs(out=message.derive(payload, meta={**meta, "state": name, "previous": previous}))

    def _put(self, key: str, name: str, topic: str) -> list:
        self.state[key] = kept = [name, self.now_s(), topic]
        return kept

    def _wait(self, key: str) -> None:
        timer = self._timers.pop(key, None)
        if timer is not None:
            timer.cancel()
        name, since_s, _ = self.state[key]
        timeout_s = self._states[name].timeout_s
        if timeout_s is not None:
            wait_s = max(0.0, since_s + timeout_s - self.now_s())
            self._timers[key] = self.after(wait_s, self._timed_out, key, name, since_s)

    async def _timed_out(self, key: str, name: str, since_s: float) -> Outputs | None:
        kept = self.state.get(key)
        if kept is None:
            return None
        if kept[_NAME] != name or kept[_SINCE_S] != since_s:  # it was left meanwhile, or what a handler did was undone
            self._wait(key)
            return None
        self._timers.pop(key, None)
        to = self._states[name].timeout_to
        return await self._enter(key, to, "timeout", Message(None, kept[_TOPIC]))

    def _show(self) -> None:
        counts = Counter(self.state[key][_NAME] for key in self.state)
        if self._key is None:
            self.set_status(next(iter(counts), self._initial))
        else:
            self.set_status(", ".join(f"{count} {name}" for name, count in counts.most_common(5)) or "no machine yet")


class _Way:
    """A transition, ready to be asked."""

    def __init__(self, node: Node, transition: Transition) -> None:
        self.to, self._wanted = transition.to, transition.event
        self._condition: Asked | None = None
        if transition.op is not None:
            self._condition = Asked(node, transition.path, transition.op, transition.value, transition.value2)

    async def is_open(self, event: Any, message: Message) -> bool:
        if self._wanted and self._wanted != _as_text(event):
            return False
        return self._condition is None or await self._condition.holds(message)


def _as_text(event: Any) -> str:
    if isinstance(event, bool):
        return "true" if event else "false"
    return event if isinstance(event, str) else "" if event is None else str(event)
