from collections.abc import Iterator
from datetime import datetime, time
from typing import Any, Literal
from zoneinfo import ZoneInfo

from pydantic import field_validator, model_validator

from flowcore.node import GiveUp, In, Message, Node, NodeConfig, Out, Outputs, field
from flowcore_nodes.core.zones import TimeZone

_KEPT = 2000  # who was told last: the oldest are forgotten


class Rule(NodeConfig):
    """What an event must be, and what follows. What is left empty does not matter."""

    name: str = field(min_length=1, description="Name of the rule, in what it sends")
    events: list[str] = field([], description="Kinds of events: cross, enter, exit, loiter, speed ...")
    classes: list[str] = field([], description="Classes")
    lines: list[str] = field([], description="Names of lines")
    zones: list[str] = field([], description="Names of zones")
    sources: list[str] = field([], description="Names of cameras")
    direction: Literal["", "in", "out"] = field("", description="Of a crossing")
    min_confidence: float = field(0.0, ge=0, le=1, description="Least confidence")
    min_dwell_s: float = field(0.0, ge=0, description="Least stay in a zone, in seconds")
    begin: str = field("", description="Time of day from which it holds: 22:00")
    end: str = field("", description="Time of day until which it holds: 06:00; may be on the next day")
    days: list[Literal["mon", "tue", "wed", "thu", "fri", "sat", "sun"]] = field([], description="Days; none: all")
    severity: Literal["info", "warning", "critical"] = field("warning", description="How bad it is")
    cooldown_s: float = field(0.0, ge=0, description="After it held, it holds no more for so long, in seconds")
    cooldown_for: Literal["rule", "camera", "place", "track"] = field(
        "rule", description="For whom: the whole rule, each camera, each line or zone of it, or each track"
    )
    to: list[str] = field([], description="Outputs it sends to, of `ports`; none: the first")

    @field_validator("begin", "end")
    @classmethod
    def _is_time(cls, text: str) -> str:
        try:
            time.fromisoformat(text or "00:00")
        except ValueError:
            raise ValueError(f"a time of day is 22:00, got {text!r}") from None
        return text

    @model_validator(mode="after")
    def _has_both_times(self) -> "Rule":
        if bool(self.begin) != bool(self.end):
            raise ValueError(f"rule {self.name!r} has begin or end alone")
        return self

    def holds(self, event: dict[str, Any], at: datetime) -> bool:
        """Whether an event is meant; its cooldown is another thing."""
        wanted = (
            ("event", self.events),
            ("class", self.classes),
            ("line", self.lines),
            ("zone", self.zones),
            ("source", self.sources),
            ("direction", [self.direction] if self.direction else []),
        )
        if any(values and event.get(key) not in values for key, values in wanted):
            return False
        if self.min_confidence and (event.get("confidence") or 0) < self.min_confidence:
            return False
        if self.min_dwell_s and (event.get("dwell_s") or 0) < self.min_dwell_s:
            return False
        return self._is_time_for_it(at)

    def _is_time_for_it(self, at: datetime) -> bool:
        now, day = at.time(), at.weekday()
        if self.begin:
            begin, end = time.fromisoformat(self.begin), time.fromisoformat(self.end)
            is_over_midnight = begin >= end
            if not (begin <= now or now < end if is_over_midnight else begin <= now < end):
                return False
            if is_over_midnight and now < end:
                day = (day - 1) % 7  # it began the evening before
        return not self.days or ("mon", "tue", "wed", "thu", "fri", "sat", "sun")[day] in self.days

    def whom(self, event: dict[str, Any]) -> str:
        """For whom its cooldown counts."""
        parts: list[Any] = [self.name]
        if self.cooldown_for != "rule":
            parts.append(event.get("source", ""))
        if self.cooldown_for == "place":
            parts.append(event.get("line") or event.get("zone") or "")
        if self.cooldown_for == "track":
            parts.append(event.get("track"))
        return "/".join(str(part) for part in parts)


class Rules(Node):
    """Decide what follows from events: which kind, where, when, how bad, how often, and where it is sent.

    Every rule that holds sends the event, with `rule` and `severity`, to its outputs; what no rule wants goes to
    `rest`. Times of day and cooldowns count by the time of the frame, so that what is handled late is judged as it was.
    Cooldowns are kept over restarts.
    """

    type = "vision/rules"
    title = "Event rules"
    category = "vision"
    icon = "siren"
    stateful = True
    outputs_from = "ports"

    class Config(NodeConfig):
        rules: list[Rule] = field(description="The rules; each is looked at")
        ports: list[str] = field(["alarm"], min_length=1, description="Names of the outputs")
        time_zone: TimeZone = field("UTC", description="Zone of times of day, such as Europe/Berlin")

        @model_validator(mode="after")
        def _ports_are_there(self) -> "Rules.Config":
            names = [rule.name for rule in self.rules]
            if twice := [name for name in names if names.count(name) > 1]:
                raise ValueError(f"two rules are called {twice[0]!r}")
            if "rest" in self.ports:
                raise ValueError("an output rest is there anyhow")
            for rule in self.rules:
                if missing := [port for port in rule.to if port not in self.ports]:
                    raise ValueError(f"rule {rule.name!r} sends to {missing[0]!r}; there are {', '.join(self.ports)}")
            return self

    in_ = In(dict, "events of lines and zones")
    rest = Out(dict, "what no rule wants")

    def on_start(self) -> None:
        self._zone = ZoneInfo(self.config.time_zone)

    def on_message(self, message: Message) -> Iterator[Any]:
        event = message.payload
        if not isinstance(event.get("event"), str):
            raise GiveUp("no event: a map with `event`, as lines and zones send it")
        at_s = (event.get("time_ns") or 0) / 1e9 or self.now_s()
        at = datetime.fromtimestamp(at_s, self._zone)
        is_wanted = False
        for rule in self.config.rules:
            if not rule.holds(event, at):
                continue
            is_wanted = True
            if rule.cooldown_s and not self._is_cool(rule, event, at_s):
                continue
            made = message.derive({**event, "rule": rule.name, "severity": rule.severity})
            for port in rule.to or self.config.ports[:1]:
                yield Outputs({port: made})
        if not is_wanted:
            yield Outputs(rest=message)

    def _is_cool(self, rule: Rule, event: dict[str, Any], at_s: float) -> bool:
        last: dict[str, float] = dict(self.state.get("last", {}))
        whom = rule.whom(event)
        if whom in last and 0 <= at_s - last[whom] < rule.cooldown_s:
            return False
        last.pop(whom, None)
        last[whom] = at_s
        while len(last) > _KEPT:
            del last[next(iter(last))]
        self.state["last"] = last
        return True
