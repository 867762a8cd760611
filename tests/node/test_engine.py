"""What the engine does around a handler: outputs, errors, retries, time-outs, state, timers, sources."""

import asyncio
import itertools
import time

import pytest

from flowcore.node import GiveUp, In, Message, Node, NodeConfig, Out, Outputs, field
from flowcore.node.testing import MemoryStore, MemoryValues, drive


class Split(Node):
    """Send even and odd numbers different ways; a text that is no number fails."""

    type = "test/split"
    value = In()
    even = Out(float)
    odd = Out(float)

    def on_message(self, message):
        number = int(message.payload)
        return Outputs(even=number) if number % 2 == 0 else Outputs(odd=number)


class Count(Node):
    """Count messages, in a state that is stored."""

    type = "test/count"
    stateful = True
    value = In()
    count = Out(int)

    def on_message(self, message):
        self.state["n"] = self.state.get("n", 0) + 1
        if message.payload == "bad":
            raise ValueError("bad")
        return self.state["n"]


async def test_outputs_by_name_and_errors_with_their_message():
    """A failing message is reported with its traceback and payload, kept as given up, and the next one is handled."""
    async with drive(Split) as node:
        await node.put(2, "x", 3, topic="t")
        assert await node.sent(port="even") == [2]
        assert await node.sent(port="odd") == [3]
        (error,) = node.errors
        assert error["error"] == "ValueError" and "int(message.payload)" in error["traceback"]
        assert error["message"]["payload"] == "x" and error["message"]["topic"] == "t"
        assert node.given_up[0]["message"]["payload"] == "x"


async def test_a_message_is_traced():
    """A derived message keeps topic, trace and origin, and names the message that caused it."""
    async with drive(Split) as node:
        await node.put(4, topic="t", trace="a.out:1:7", origin=12345)
        (message,) = node.messages("even")
        assert (message.topic, message.trace, message.origin_ns) == ("t", "a.out:1:7", 12345)


class Shapes(Node):
    """Return what the payload says."""

    type = "test/shapes"
    value = In()
    out = Out()
    other = Out()

    def on_message(self, message):
        match message.payload:
            case "nothing":
                return None
            case "list":
                return [1, 2]
            case "many":
                return self._many()
            case "message":
                return message.derive({"a": 1}, topic="new")
            case "unknown":
                return Outputs(nowhere=1)
            case "unpackable":
                return {1, 2}

    def _many(self):
        yield from range(200)
        yield Outputs(other="end")


async def test_what_a_handler_may_return():
    """A list is a value; a generator sends many, more than fit a turn; what can't be sent is that message's error."""
    async with drive(Shapes) as node:
        await node.put("nothing", "list", "message", "unknown", "unpackable")
        assert await node.sent() == [[1, 2], {"a": 1}]
        assert node.messages()[1].topic == "new"
        assert [one["error"] for one in node.errors] == ["UnknownPort", "TypeError"]
        assert "(it has: out, other)" in node.errors[0]["text"]
        node.clear()
        await node.put("many")
        assert await node.sent() == [*range(200), "end"]


async def test_a_failed_handler_leaves_the_state_as_it_was():
    """What a handler changed before it raised is undone; what others changed is stored."""
    store = MemoryStore()
    async with drive(Count, store=store) as node:
        await node.put(1, "bad", 2)
        assert await node.sent() == [1, 2]
    async with drive(Count, store=store) as node:
        await node.put(3)
        assert await node.sent() == [3]


async def test_state_refuses_what_cannot_be_stored():
    """Keys are text, values are msgpack, and there is a limit: the error names the key, and nothing changes."""
    async with drive(Count) as node:
        state = node.node.state
        with pytest.raises(TypeError, match="text"):
            state[1] = 2
        with pytest.raises(TypeError):
            state["x"] = object()
        with pytest.raises(ValueError, match="limit"):
            state["x"] = b"x" * (17 << 20)
        assert len(state) == 0


class Flaky(Node):
    """Fail until the third try."""

    type = "test/flaky"
    value = In()
    out = Out()

    def on_start(self):
        self.tries = itertools.count(1)

    async def on_message(self, message):
        n = next(self.tries)
        if message.payload == "never":
            raise GiveUp("never")
        if n % 3:
            raise OSError(f"try {n}")
        return n


async def test_retries_with_backoff_until_it_works():
    """`retry.times` tries again, GiveUp does not."""
    settings = {"retry": {"times": 2, "backoff_s": 0.001}}
    async with drive(Flaky, settings=settings) as node:
        await node.put("x")
        assert await node.sent() == [3] and not node.errors
        await node.put("never")
        assert node.errors[0]["error"] == "GiveUp" and node.errors[0]["tries"] == 1
    async with drive(Flaky, settings={"retry": {"times": 1, "backoff_s": 0.001}}) as node:
        await node.put("x")
        assert node.errors[0]["text"] == "try 2" and node.errors[0]["tries"] == 2


async def test_the_breaker_opens_and_lets_one_try_again():
    """After `failures` messages are refused without a try; after `open_s` one is let through and closes it."""
    settings = {"breaker": {"failures": 2, "window_s": 60, "open_s": 5}}
    async with drive(Flaky, settings=settings) as node:
        await node.put("a", "b", "c")
        assert [one["error"] for one in node.errors] == ["OSError", "OSError", "BreakerOpen"]
        await node.advance(6)
        await node.put("d", "e")  # the third try, which works, and one more that fails
        assert await node.sent() == [3]
        assert [one["error"] for one in node.errors[3:]] == ["OSError"]


class Slow(Node):
    """Sleep as long as the payload says."""

    type = "test/slow"
    value = In(float)
    out = Out()

    def on_message(self, message):
        until_s = time.monotonic() + message.payload
        while time.monotonic() < until_s:
            time.sleep(0.001)
        return "done"


class SlowAsync(Slow):
    """The same, async."""

    type = "test/slow-async"

    async def on_message(self, message):
        await asyncio.sleep(message.payload)
        return "done"


@pytest.mark.parametrize("kind", [Slow, SlowAsync])
async def test_a_handler_that_takes_too_long_fails_its_message_alone(kind):
    """`timeout_s` ends the call, sync or async, and the node goes on."""
    async with drive(kind, settings={"timeout_s": 0.1}) as node:
        await node.put(0.0, 30.0, 0.0)
        assert await node.sent() == ["done", "done"]
        assert [one["error"] for one in node.errors] == ["HandlerTimeout"]


async def test_what_is_late_is_dropped_and_counted():
    """Past its own deadline, or older than `deadline.age_s`."""
    now_ns = time.time_ns()
    async with drive(Split, settings={"deadline": {"age_s": 10}}) as node:
        await node.put(2, deadline=now_ns - 1)
        await node.put(4, origin=now_ns - int(20e9))
        await node.put(6, origin=now_ns, deadline=now_ns + int(60e9))
        assert await node.sent() == [6]
        assert node.engine.counts["late"] == 2 and not node.errors


class Gather(Node):
    """Sum a batch."""

    type = "test/gather"
    value = In(int)
    out = Out()

    async def on_batch(self, messages):
        return [sum(message.payload for message in messages)]


async def test_a_batch_takes_what_waits_and_a_bad_payload_fails_alone():
    """`on_batch` gets what arrived together; a payload that does not fit its port never reaches it."""
    async with drive(Gather) as node:
        await node.put(1, 2, "x", 3)
        assert await node.sent() == [6]
        assert node.errors[0]["error"] == "PortTypeError"


class Ticker(Node):
    """Count ticks, and messages between them."""

    type = "test/ticker"
    stateful = True
    value = In()
    out = Out()

    def on_start(self):
        self.every(10, self.tick)
        self.after(25, self.once)

    def on_message(self, message):
        self.state["n"] = self.state.get("n", 0) + 1

    def tick(self):
        n, self.state["n"] = self.state.get("n", 0), 0
        return n

    async def once(self):
        await self.send("once")


async def test_timers_run_like_handlers():
    """They change the state, return outputs, and fall due by the node's clock."""
    async with drive(Ticker) as node:
        await node.put("a", "b")
        await node.advance(10)
        await node.put("c")
        await node.advance(20)
        assert await node.sent() == [2, 1, "once", 0]


class Lines(Node):
    """A source that can replay."""

    type = "test/lines"

    class Config(NodeConfig):
        count: int = field(5)

    line = Out(int)

    async def run(self):
        for n in range((self.position or 0) + 1, self.config.count + 1):
            await self.send(n, position=n)


async def test_a_source_reads_on_from_its_saved_position():
    """What everyone has acked is not read again."""
    store = MemoryStore()
    async with drive(Lines, store=store, count=3) as node:
        assert await node.sent(3) == [1, 2, 3]
    async with drive(Lines, store=store, count=5) as node:
        assert await node.sent(2) == [4, 5]


class Scaled(Node):
    """Multiply by a factor that may be a reference."""

    type = "test/scaled"
    context = ("flow",)

    class Config(NodeConfig):
        factor: float = field(1.0, gt=0, dynamic=True)

    value = In()
    out = Out()

    def on_reconfigure(self, old):
        if self.config.factor == 13:
            raise ValueError("not 13")

    def on_message(self, message):
        return message.payload["v"] * self.setting("factor", message)


async def test_config_may_refer_to_the_message_and_to_shared_values():
    """`$message` and `$flow` are looked up for each message; what leads nowhere is an error of that message."""
    async with drive(Scaled, factor={"$message": "payload.f"}) as node:
        await node.put({"v": 2, "f": 3}, {"v": 2})
        assert await node.sent() == [6]
        assert node.errors[0]["error"] == "LookupError"
    values = MemoryValues()
    async with drive(Scaled, contexts=values, factor={"$flow": "a/b.c"}) as node:
        await node.node.flow_context.set("a/b.c", 5)
        await node.put({"v": 2})
        assert await node.sent() == [10]


async def test_a_live_change_of_config_and_one_that_is_refused():
    """on_reconfigure takes the new config; when it raises, or the config is wrong, the old one stays."""
    async with drive(Scaled, factor=2) as node:
        await node.reconfigure(factor=3)
        await node.put({"v": 2})
        for wrong in (13, -1):
            with pytest.raises(ValueError):
                await node.reconfigure(factor=wrong)
        await node.put({"v": 2})
        assert await node.sent() == [6, 6]


class Two(Node):
    """Handle several at once."""

    type = "test/two"
    value = In()
    out = Out()

    def on_start(self):
        self.at_once = self.most = 0

    async def on_message(self, message):
        self.at_once += 1
        self.most = max(self.most, self.at_once)
        await asyncio.sleep(0.01)
        self.at_once -= 1
        return message.payload


async def test_concurrency():
    """With `concurrency` several handlers run at once, and then the state is refused."""
    async with drive(Two, settings={"concurrency": 4}) as node:
        await node.put(*range(12))
        assert sorted(await node.sent()) == list(range(12)) and 1 < node.node.most <= 4
        with pytest.raises(RuntimeError, match="concurrency"):
            node.node.state["x"] = 1


async def test_a_message_may_be_sent_on_as_it_is():
    """A Message keeps what it has; what is given to send overrides it."""

    class Forward(Node):
        """Forward."""

        value = In()
        out = Out()

        async def on_message(self, message):
            receipt = await self.send(message, topic="b")
            assert receipt.is_done
            return Message("new", topic="c")

    async with drive(Forward) as node:
        await node.put(1, topic="a")
        assert [(one.payload, one.topic) for one in node.messages()] == [(1, "b"), ("new", "c")]
