import math
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any, Literal

import jsonschema
import regex
from pydantic import field_validator, model_validator
from referencing import Registry

from flowcore.node import In, Message, Node, NodeConfig, Out, Outputs, field
from flowcore.node.paths import MessagePath, PathError
from flowcore_nodes.core.filter import same
from flowcore_nodes.core.path_fields import ReadPath, ReadPathOrEmpty

_MOST_REASONS = 20
_PATTERN_S = 1.0
_A_SECOND = {"s": 1.0, "ms": 1e3, "us": 1e6, "ns": 1e9}


def _pattern(validator: Any, pattern: str, instance: Any, schema: Any) -> Iterator[jsonschema.ValidationError]:
    """As jsonschema's own, but with an end: a user's pattern must not stop a node."""
    if not isinstance(instance, str):
        return
    try:
        if regex.search(pattern, instance, timeout=_PATTERN_S) is None:
            yield jsonschema.ValidationError(f"{instance[:60]!r} does not match {pattern!r}")
    except TimeoutError:
        yield jsonschema.ValidationError(f"matching {pattern!r} took longer than {_PATTERN_S:g} s")


_Validator = jsonschema.validators.extend(jsonschema.Draft202012Validator, {"pattern": _pattern})


class Limit(NodeConfig):
    """A number that must lie in a range."""

    path: ReadPath = field("payload", description="Path of the number: payload.temp_c ...")
    low: float | None = field(None, description="Lowest good value, in its own unit; empty: no limit")
    high: float | None = field(None, description="Highest good value, in its own unit; empty: no limit")
    required: bool = field(True, description="A message without it is bad")

    @model_validator(mode="after")
    def _is_range(self) -> "Limit":
        if self.low is not None and self.high is not None and self.low > self.high:
            raise ValueError(f"low ({self.low:g}) is above high ({self.high:g})")
        return self


class Validate(Node):
    """Tell good messages from bad ones: by JSON schema, ranges, age, and values that no longer change.

    Good messages go on as they are. Bad ones go out of `bad` with `meta.reasons`, a list of maps: check (schema, limit,
    stale, stuck), path, text. A message that is late, or a value that stays the same to the last digit for too long,
    tells of a broken sensor or line where each value alone looks good.
    """

    type = "core/validate"
    title = "Validate"
    category = "function"
    icon = "shield-check"
    stateful = True

    class Config(NodeConfig):
        json_schema: dict[str, Any] = field({}, description="JSON schema (2020-12) of what is at `path`; empty: none")
        path: ReadPath = field("payload", description="What the schema is for")
        limits: list[Limit] = field([], description="Numbers that must lie in a range", max_length=256)
        stale_s: float | None = field(
            None, gt=0, description="A reading older than this is bad, in seconds; empty: any age is good"
        )
        time: ReadPathOrEmpty = field(
            "",
            description="Path of the reading's time: a number since 1970, or ISO 8601; empty: when the message began",
        )
        time_unit: Literal["s", "ms", "us", "ns"] = field("s", description="Unit of a time that is a number")
        stuck_s: float | None = field(
            None, gt=0, description="A value unchanged for so long is bad, in seconds; empty: it may stay as it is"
        )
        value: ReadPath = field("payload", description="What must change, for stuck_s")
        key: ReadPathOrEmpty = field(
            "topic",
            description="Path of what tells series apart, for stuck_s: topic, payload.machine; empty: one series",
        )
        max_keys: int = field(1000, gt=0, le=100_000, description="Most series; the oldest is then forgotten")

        @field_validator("json_schema")
        @classmethod
        def _is_schema(cls, schema: dict[str, Any]) -> dict[str, Any]:
            try:
                _Validator.check_schema(schema)
            except jsonschema.SchemaError as e:
                raise ValueError(f"not a JSON schema: {e.json_path}: {e.message[:200]}") from None
            for pattern in _patterns(schema):
                try:
                    regex.compile(pattern)
                except (regex.error, RecursionError, OverflowError) as e:
                    raise ValueError(f"not a JSON schema: pattern {pattern!r}: {e}") from None
            return schema

    in_ = In()
    good = Out(description="messages without fault, as they are")
    bad = Out(description="the others, with meta.reasons")

    def on_start(self) -> None:
        config = self.config
        self._checks = []
        if config.json_schema:
            # A registry of its own: a $ref must not make the node fetch anything.
            self._schema = _Validator(config.json_schema, registry=Registry())
            self._part = MessagePath(config.path)
            self._checks.append(self._by_schema)
        if config.limits:
            self._limits = [(limit, MessagePath(limit.path)) for limit in config.limits]
            self._checks.append(self._by_limits)
        if config.stale_s is not None:
            self._time = MessagePath(config.time) if config.time else None
            self._checks.append(self._by_age)
        if config.stuck_s is not None:
            self._value = MessagePath(config.value)
            self._key = MessagePath(config.key) if config.key else None
            self._checks.append(self._by_change)
        if not self._checks:
            self.set_status("nothing is checked: no schema, limit, stale_s or stuck_s", "warn")

    def on_reconfigure(self, old: Any) -> None:
        if (old.value, old.key) != (self.config.value, self.config.key) or self.config.stuck_s is None:
            self.state.clear()
        self.on_start()

    def on_message(self, message: Message) -> Outputs:
        reasons: list[dict[str, str]] = []
        for check in self._checks:
            for what, path, text in check(message):
                reasons.append({"check": what, "path": path, "text": text})
                if len(reasons) == _MOST_REASONS:
                    break
        if not reasons:
            return Outputs(good=message)
        return Outputs(bad=message.derive(meta={**message.meta, "reasons": reasons[:_MOST_REASONS]}))

    def _by_schema(self, message: Message) -> Iterator[tuple[str, str, str]]:
        path = self.config.path
        try:
            value = self._part.get(message)
        except PathError as e:
            yield "schema", path, str(e)
            return
        try:
            for error in self._schema.iter_errors(value):
                where = "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in error.absolute_path)
                yield "schema", path + where, error.message[:200]
        except RecursionError:
            yield "schema", path, "nested too deep for its schema"
        except jsonschema.exceptions._WrappedReferencingError as e:
            yield "schema", path, f"the schema refers to what it does not have: {e}"

    def _by_limits(self, message: Message) -> Iterator[tuple[str, str, str]]:
        for limit, path in self._limits:
            try:
                value = path.get(message)
            except PathError:
                value = None
            if value is None:
                if limit.required:
                    yield "limit", limit.path, "is not there"
            elif isinstance(value, bool) or not isinstance(value, (int, float)) or math.isnan(value):
                yield "limit", limit.path, f"must be a number, is {str(value)[:40]!r}"
            elif limit.low is not None and value < limit.low:
                yield "limit", limit.path, f"{value:g} is below {limit.low:g}"
            elif limit.high is not None and value > limit.high:
                yield "limit", limit.path, f"{value:g} is above {limit.high:g}"

    def _by_age(self, message: Message) -> Iterator[tuple[str, str, str]]:
        path, limit_s = self.config.time or "origin_ns", self.config.stale_s
        try:
            made_s = message.origin_ns / 1e9 if self._time is None else self._seconds(self._time.get(message))
        except (PathError, ValueError) as e:
            yield "stale", path, str(e)
            return
        age_s = self.now_s() - made_s
        if age_s > limit_s:
            yield "stale", path, f"{age_s:.3g} s old, the limit is {limit_s:g} s"

    def _seconds(self, value: Any) -> float:
        """Seconds since 1970. Raises ValueError."""
        if isinstance(value, str):
            try:
                time = datetime.fromisoformat(value)
            except ValueError:
                raise ValueError(f"{value[:40]!r} is no time as in ISO 8601") from None
            return (time if time.tzinfo else time.replace(tzinfo=UTC)).timestamp()
        if isinstance(value, bool) or not isinstance(value, (int, float)) or not math.isfinite(value):
            raise ValueError(f"must be a time, is {str(value)[:40]!r}")
        return value / _A_SECOND[self.config.time_unit]

    def _by_change(self, message: Message) -> Iterator[tuple[str, str, str]]:
        try:
            value = self._value.get(message)
        except PathError as e:
            yield "stuck", self.config.value, str(e)
            return
        key = str(self._key.find(message, "")) if self._key else ""
        now_s, kept = self.now_s(), self.state.get(key)
        if kept is None or not same(kept[0], value):
            if kept is None and len(self.state) >= self.config.max_keys:
                del self.state[next(iter(self.state))]
            self.state[key] = [value, now_s]
        elif now_s - kept[1] >= self.config.stuck_s:
            yield (
                "stuck",
                self.config.value,
                f"unchanged for {now_s - kept[1]:.3g} s, the limit is {self.config.stuck_s:g} s",
            )


def _patterns(schema: Any) -> Iterator[str]:
    if isinstance(schema, dict):
        if isinstance(schema.get("pattern"), str):
            yield schema["pattern"]
        for value in schema.values():
            yield from _patterns(value)
    elif isinstance(schema, list):
        for value in schema:
            yield from _patterns(value)
