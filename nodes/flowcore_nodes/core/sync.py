from bisect import insort
from collections.abc import Iterator
from typing import Any, Literal

from pydantic import field_validator

from flowcore.node import GiveUp, Message, Out, Outputs, field
from flowcore.node.paths import MessagePath
from flowcore_nodes.core.due import Due
from flowcore_nodes.core.holding import META, PAYLOAD, Holding, HoldingConfig, message_of, parts_of
from flowcore_nodes.core.path_fields import ReadPath

# What is kept of a message that waits: its input, its time stamp, when it came, its parts.
INPUT, STAMP_S, AT_S, PARTS = range(4)

_PER_S = {"s": 1, "ms": 1e3, "us": 1e6, "ns": 1e9}


class Sync(Holding):
    """Put together what was measured at the same time: one message of each input, by their time stamps.

    A set is made of one message of each input, no two of them further apart than `tolerance_s`; of each input the
    nearest to the latest, and each message is in one set at most. It is sent as soon as it is whole: a map from input
    to payload, with `meta.stamps` (seconds). A message to which nothing fits any more, because an input has gone past
    it or `timeout_s` has passed, is unmatched. Stamps of an input should rise; late ones are put in their place.

    What waits is in the node's state and survives a kill; for frames choose `hold` memory, which keeps them in shared
    memory where they are.
    """

    type = "core/sync"
    title = "Sync"
    category = "sequence"
    icon = "git-merge"
    inputs_from = "inputs"

    class Config(HoldingConfig):
        inputs: list[str] = field(["a", "b"], description="Names of the inputs")
        tolerance_s: float = field(0.05, ge=0, le=86_400, description="How far stamps may lie apart, in seconds")
        stamp: ReadPath = field(
            "origin_ns", description="Path of the time stamp; origin_ns is when the message's source made it"
        )
        unit: Literal["s", "ms", "us", "ns"] = field("ns", description="Unit of the time stamp")
        timeout_s: float = field(
            0.0, ge=0, le=86_400, description="A message waits so long for the others, in seconds; 0: for ever"
        )
        unmatched: Literal["drop", "send", "partial"] = field(
            "drop",
            description="What becomes of a message without partners: dropped, sent to the second output, or sent as a "
            "set of what is there",
        )
        max_held: int = field(
            1000, gt=0, le=100_000, description="Most messages that wait, of all inputs; the oldest is then unmatched"
        )

        @field_validator("inputs")
        @classmethod
        def _are_several(cls, inputs: list[str]) -> list[str]:
            if len(inputs) < 2 or len(set(inputs)) < len(inputs):
                raise ValueError("needs two inputs or more, each name once")
            return inputs

    out = Out(dict, "a map from input to payload; topic of the latest message, meta.stamps")
    unmatched = Out(description="messages without partners, with meta.input")

    def on_start(self) -> None:
        self._due = Due(self, self._when_due)
        super().on_start()

    def read_config(self) -> None:
        self._stamp = MessagePath(self.config.stamp).get
        self._per_s = _PER_S[self.config.unit]

    def adopt(self) -> None:
        self._queues: dict[str, list[tuple[float, str]]] = {name: [] for name in self.config.inputs}
        due: dict[str, float] = {}
        for number in self.numbers():
            entry = self.held[number]
            if entry[INPUT] not in self._queues:  # an input that was taken away
                del self.held[number]
                continue
            insort(self._queues[entry[INPUT]], (entry[STAMP_S], number))
            if self.config.timeout_s:
                due[number] = entry[AT_S] + self.config.timeout_s
        self._count = sum(map(len, self._queues.values()))
        self._due.begin(due)

    async def on_message(self, message: Message):
        stamp = self._stamp(message)
        if isinstance(stamp, bool) or not isinstance(stamp, (int, float)) or stamp != stamp:
            raise GiveUp(f"{self.config.stamp} is no time stamp: {str(stamp)[:40]!r}")
        with self.changing():
            if message.meta.get("reset"):
                for number in self.numbers():
                    del self.held[number]
                self.adopt()
                return
            if self._count >= self.config.max_held:
                oldest = min(queue[0] for queue in self._queues.values() if queue)[1]
                self.count_drop()
                for made in self._unmatched(oldest):
                    yield made
            stamp_s, now_s = stamp / self._per_s, self.now_s()
            parts = parts_of(message)
            parts[PAYLOAD] = self.own(parts[PAYLOAD])
            number = self.put([message.port, stamp_s, now_s, parts])
            insort(self._queues[message.port], (stamp_s, number))
            self._count += 1
            for made in self._matched():
                yield made
            if self.config.timeout_s and number in self.held:
                self._due.add(number, now_s + self.config.timeout_s)
            self._due.arm()

    def _matched(self) -> Iterator[Any]:
        """Sets that are whole, and what they leave behind."""
        queues = list(self._queues.values())
        while all(queues):
            latest_s = max(queue[0][0] for queue in queues)
            left = [
                queue[0][1] for queue in queues
                if latest_s - queue[0][0] > self.config.tolerance_s or (len(queue) > 1 and queue[1][0] <= latest_s)
            ]  # fmt: skip
            if left:  # too old, or another one of the same input is nearer
                for number in left:
                    yield from self._unmatched(number)
            else:
                yield self._set([queue[0][1] for queue in queues])

    def _set(self, numbers: list[str]) -> Message:
        entries = [self._taken(number) for number in numbers]
        latest = max(entries, key=lambda entry: entry[STAMP_S])[PARTS]
        stamps = {entry[INPUT]: entry[STAMP_S] for entry in entries}
        payload = {entry[INPUT]: entry[PARTS][PAYLOAD] for entry in entries}
        return message_of(latest, payload, {**latest[META], "stamps": stamps})

    def _unmatched(self, number: str) -> Iterator[Any]:
        if self.config.unmatched == "partial":
            yield self._set(self._partners(number))
            return
        entry = self._taken(number)
        if self.config.unmatched == "send":
            parts = entry[PARTS]
            yield Outputs(unmatched=message_of(parts, meta={**parts[META], "input": entry[INPUT]}))

    def _partners(self, number: str) -> list[str]:
        """A message, and of each other input the first that would fit, as far as there is one."""
        name, stamp_s = self.held[number][INPUT], self.held[number][STAMP_S]
        found = {name: number}
        low_s = high_s = stamp_s
        for other, queue in self._queues.items():
            for at_s, candidate in queue[:1] if other != name else ():
                if max(high_s, at_s) - min(low_s, at_s) <= self.config.tolerance_s:
                    found[other] = candidate
                    low_s, high_s = min(low_s, at_s), max(high_s, at_s)
        return [found[name] for name in self._queues if name in found]

    def _taken(self, number: str) -> list:
        entry = self.held.pop(number)
        self._queues[entry[INPUT]].remove((entry[STAMP_S], number))
        self._due.discard(number)
        self._count -= 1
        return entry

    async def _when_due(self):
        with self.changing():
            for number in self._due.take():
                if number in self.held:  # else it was in the set of another
                    for made in self._unmatched(number):
                        yield made
            for made in self._matched():
                yield made
