"""Handlers that misbehave: what they raise, when they are ended, what they leave in the state, what does not fit."""

import asyncio
import threading
import time

import pytest
from pydantic import BaseModel

from flowcore.bus.envelope import MAX_ENVELOPE, pack, unpack
from flowcore.node import In, Node, Out
from flowcore.node.clock import MovedClock
from flowcore.node.runs import Call
from flowcore.node.testing import MemoryStore, drive
from flowcore.node.work import HandlerThread
from flowcore.wires.out_port import Kept, Origin

RAISED = {"cancelled": asyncio.CancelledError, "exit": SystemExit}


class Raises(Node):
    """Raise what the payload names."""

    type = "test/raises"
    value = In()
    out = Out()

    def on_message(self, message):
        if message.payload in RAISED:
            raise RAISED[message.payload]
        return message.payload


class RaisesAsync(Raises):
    """The same, async."""

    type = "test/raises-async"

    async def on_message(self, message):
        if message.payload in RAISED:
            raise RAISED[message.payload]
        return message.payload


class RaisesBatch(RaisesAsync):
    """The same, many at once."""

    type = "test/raises-batch"

    async def on_batch(self, messages):
        return [await self.on_message(message) for message in messages]


@pytest.mark.parametrize("kind", [Raises, RaisesAsync, RaisesBatch])
async def test_what_is_no_exception_fails_its_message_alone(kind):
    """A CancelledError out of a library, `sys.exit()`: that message has failed, and the node goes on."""
    async with drive(kind) as node:
        await node.put(1, "cancelled", 2, "exit", 3)
        assert await node.sent() == [1, 2, 3]
        assert [one["error"] for one in node.errors] == ["CancelledError", "SystemExit"]


class BadTimer(Node):
    """A timer whose call is cancelled by somebody else."""

    type = "test/bad-timer"
    value = In()
    out = Out()

    def on_start(self):
        self.after(1, self._tick)

    async def _tick(self):
        raise asyncio.CancelledError

    def on_message(self, message):
        return message.payload


async def test_a_timer_that_is_cancelled_from_within_ends_nothing():
    """It is an error like another."""
    async with drive(BadTimer) as node:
        await node.advance(2)
        await node.put(1)
        assert await node.sent() == [1]
        assert [one["error"] for one in node.errors] == ["CancelledError"]


class BadSource(Node):
    """A source whose library cancels something, once."""

    type = "test/bad-source"
    out = Out()

    def on_start(self):
        self.runs = 0

    async def run(self):
        self.runs += 1
        if self.runs == 1:
            raise asyncio.CancelledError
        await self.send(self.runs)
        await asyncio.Event().wait()


async def test_a_source_that_is_cancelled_from_within_runs_again():
    """Only the engine ends a source for good."""
    async with drive(BadSource) as node:
        assert await node.sent(1) == [2]


class Flaky(Node):
    """Fail for "bad"."""

    type = "test/flaky-breaker"
    value = In()
    out = Out()

    async def on_message(self, message):
        if message.payload == "bad":
            raise OSError("bad")
        return message.payload


class FlakySync(Flaky):
    """The same, sync."""

    type = "test/flaky-breaker-sync"

    def on_message(self, message):
        if message.payload == "bad":
            raise OSError("bad")
        return message.payload


class FlakyBatch(Flaky):
    """The same, many at once."""

    type = "test/flaky-breaker-batch"

    def on_batch(self, messages):
        if any(message.payload == "bad" for message in messages):
            raise OSError("bad")
        return [message.payload for message in messages]


@pytest.mark.parametrize("kind", [Flaky, FlakySync, FlakyBatch])
async def test_a_half_open_breaker_whose_try_fails_tries_again_later(kind):
    """With retries too: the try of a half-open breaker is one message with all its tries."""
    settings = {"retry": {"times": 1, "backoff_s": 0.001}, "breaker": {"failures": 1, "window_s": 60, "open_s": 5}}
    async with drive(kind, settings=settings) as node:
        await node.put("bad", "refused")
        await node.advance(6)
        await node.put("bad", "refused")
        await node.advance(6)
        await node.put("good", "too")
        assert await node.sent() == ["good", "too"]
        assert [one["error"] for one in node.errors] == ["OSError", "BreakerOpen"] * 2


async def test_a_batch_that_fails_is_tried_one_by_one():
    """One bad message does not condemn what came with it."""
    async with drive(FlakyBatch) as node:
        await node.put(1, "bad", 2)
        assert await node.sent() == [1, 2]
        assert [one["message"]["payload"] for one in node.given_up] == ["bad"]


class Detection(BaseModel):
    """What a camera saw."""

    label: str


class Detect(Node):
    """Send a model on; refuse a dog."""

    type = "test/detect"
    found = In(Detection)
    out = Out(Detection)

    def on_message(self, message):
        if message.payload.label == "dog":
            raise ValueError("no dogs")
        return message.payload


async def test_a_model_travels_as_a_map():
    """From a handler to an output, and into an error."""
    async with drive(Detect) as node:
        await node.put({"label": "cat"}, {"label": "dog"})
        assert await node.sent() == [{"label": "cat"}]
        assert unpack(pack(node.given_up[0]))["message"]["payload"] == {"label": "dog"}


class Spoils(Node):
    """Make of its message what cannot be sent, and fail."""

    type = "test/spoils"
    value = In()
    out = Out()

    def on_message(self, message):
        message.payload = {"set": {1, 2}} if message.payload == "set" else "x" * (9 << 20)
        message.meta["x"] = object()
        raise ValueError("y" * (9 << 20))


async def test_an_error_always_fits():
    """Whatever a handler made of its message and of its error, what is published and kept can be sent."""
    async with drive(Spoils) as node:
        await node.put("set", "large")
        assert len(node.given_up) == 2
        assert all(len(pack(one)) < MAX_ENVELOPE for one in (*node.given_up, *node.errors))


class Wired:
    """A wire that acks when a test says so, on one port."""

    cause_waits, is_failed = True, False

    def __init__(self, window: int) -> None:
        self.window, self.owed = window, []

    def has_credit(self) -> bool:
        return len(self.owed) < self.window

    def credit(self) -> int:
        return self.window - len(self.owed)

    def add(self, kept: Kept) -> int:
        self.owed.append(kept)
        return 1

    def owed_messages(self) -> list[Kept]:
        return list(self.owed)

    def flush(self) -> None:
        pass

    def ack(self, port) -> None:
        owed, self.owed = self.owed, []
        for kept in owed:
            kept.one_done()
        port.on_credit()


def wire(node, port: str, window: int) -> Wired:
    """Put a wire on a port of a node under test."""
    wired = Wired(window)
    node.engine.emitter.ports[port].wires.append(wired)
    return wired


class Full(Node):
    """Answer at once."""

    type = "test/full"
    value = In()
    out = Out()

    async def on_message(self, message):
        return message.payload


async def test_back_pressure_is_no_time_out():
    """A handler that is through in time has not failed when its output waits for credit."""
    async with drive(Full, settings={"timeout_s": 0.05}) as node:
        wired = wire(node, "out", 1)
        putting = asyncio.create_task(node.put(1, 2))
        await asyncio.sleep(0.2)
        while not putting.done():
            wired.ack(node.engine.emitter.ports["out"])
            await asyncio.sleep(0.001)
        assert await node.sent() == [1, 2] and not node.errors


class SendsFull(Node):
    """Send along the way."""

    type = "test/sends-full"
    value = In()
    out = Out()

    async def on_message(self, message):
        await self.send(message.payload)


async def test_a_message_whose_send_was_cut_off_is_acked():
    """The time-out of a handler that waits in `self.send`: its message has failed, and is done."""
    async with drive(SendsFull, settings={"timeout_s": 0.05}) as node:
        wired = wire(node, "out", 1)
        putting = asyncio.create_task(node.put(1, 2))
        await node.wait_for(lambda: len(node.errors) == 1)
        wired.ack(node.engine.emitter.ports["out"])
        await putting


class Reads(Node):
    """A source that can replay; it is run again at each change of its config."""

    type = "test/reads"
    run_again_on_reconfigure = True
    out = Out()

    async def run(self):
        for n in range(self.position or 0, 100):
            await self.send(n, position=n + 1)
        await asyncio.Event().wait()

    def on_reconfigure(self, old):
        pass


async def test_the_position_is_not_lost_when_a_source_is_run_again():
    """What was not sent when `run` was ended holds up no position, and is not skipped."""
    async with drive(Reads) as node:
        await node.sent(100)
    async with drive(Reads, store=MemoryStore()) as node:
        wired = wire(node, "out", 10)
        node.engine.emitter.ports["out"].on_credit()
        await node.reconfigure()
        while node.node.position != 100:
            wired.ack(node.engine.emitter.ports["out"])
            await asyncio.sleep(0.001)
        assert set(await node.sent()) == set(range(100))


class Newest(Node):
    """A source that does not wait."""

    type = "test/newest"
    out = Out()

    def on_start(self):
        self.after_ack = asyncio.Event()

    async def run(self):
        for n in range(5):
            await self.send(n)
        await self.after_ack.wait()
        await self.send(5)


async def test_drop_oldest_keeps_the_newest_and_the_order():
    """What waits for credit goes before what is sent the moment credit is there."""
    async with drive(Newest, settings={"full": "drop_oldest"}) as node:
        node.clear()
        wired = wire(node, "out", 1)
        await node.engine.source.quiesce()
        node.engine.source.begin()
        await node.wait_for(lambda: node.engine.emitter.drops == 3)
        node.node.after_ack.set()
        while 5 not in (sent := await node.sent()):
            wired.ack(node.engine.emitter.ports["out"])
        assert sent in ([0, 4, 5], [0, 5])


class CancelsTimer(Node):
    """A sync handler that calls off a timer."""

    type = "test/cancels-timer"
    value = In()

    def on_message(self, message):
        if message.payload == "begin":
            self.timer = self.after(10, lambda: None)
        else:
            self.timer.cancel()


async def test_a_timer_is_called_off_in_the_loops_thread(monkeypatch):
    """A handle of the event loop is not safe to touch from a handler's thread."""
    threads = []
    real = MovedClock.call_later

    def call_later(self, seconds, function):
        handle = real(self, seconds, function)
        cancel = handle.cancel
        handle.cancel = lambda: (threads.append(threading.get_ident()), cancel())
        return handle

    monkeypatch.setattr(MovedClock, "call_later", call_later)
    async with drive(CancelsTimer) as node:
        await node.put("begin")
        await node.put("end")
        await node.wait_for(lambda: bool(threads))
    assert threads == [threading.get_ident()]


class SpawnsLate(Node):
    """A task that outlives the handler that began it."""

    type = "test/spawns-late"
    value = In()
    out = Out()

    async def on_message(self, message):
        self.spawn(self._later(message.payload))

    async def _later(self, payload):
        await asyncio.sleep(0.01)
        receipt = await self.send(payload)
        assert not receipt.is_for_input


async def test_a_task_that_a_handler_began_sends_for_itself():
    """Its message is acked by then, so nothing would make the output again after a crash: a hand-over has to."""
    async with drive(SpawnsLate) as node:
        await node.put(1)
        assert await node.sent(1) == [1] and not node.errors
        assert node._inputs["value"].queued == 0


class Counts(Node):
    """Count in the state, slowly when told."""

    type = "test/counts-slowly"
    value = In()

    async def on_message(self, message):
        self.state["n"] = self.state.get("n", 0) + 1
        if message.payload == "slow":
            await asyncio.sleep(60)


class CountsInThread(Counts):
    """The same, in the thread."""

    type = "test/counts-slowly-sync"

    def on_start(self):
        self.end = threading.Event()

    def on_message(self, message):
        self.state["n"] = self.state.get("n", 0) + 1
        if message.payload == "slow":
            self.end.wait(20)


@pytest.mark.parametrize("kind", [Counts, CountsInThread])
async def test_what_a_handler_that_was_left_behind_changed_is_not_stored(kind):
    """At a stop that does not wait for it: its message comes again, and must not be counted twice."""
    store = MemoryStore()
    async with drive(kind, store=store) as node:
        await node.put("x")
        putting = asyncio.create_task(node.put("y", "slow"))
        await node.wait_for(lambda: len(node.node.state) and node.node.state["n"] == 3)
        await node.engine.stop(0.1)
        putting.cancel()
        if kind is CountsInThread:
            node.node.end.set()
    left = len(node.engine.queue)
    async with drive(kind, store=store) as node:
        assert node.node.state["n"] + left == 3


class Retries(Node):
    """Always fail."""

    type = "test/retries"
    value = In()

    def on_message(self, message):
        raise OSError("away")


async def test_a_message_that_waits_for_its_next_try_is_left_to_the_next_process():
    """A stop does not cut its retries short, and does not wait for them."""
    async with drive(Retries, settings={"retry": {"times": 5, "backoff_s": 30}}) as node:
        putting = asyncio.create_task(node.put(1, 2))
        await node.wait_for(lambda: node.engine.counts["retried"] == 1)
        began_s = time.monotonic()
        await node.engine.stop(20)
        assert time.monotonic() - began_s < 5
        assert not node.given_up and [work.envelope["payload"] for work in node.engine.queue] == [1, 2]
        putting.cancel()


class StateInRun(Node):
    """A source that keeps its place in its state."""

    type = "test/state-in-run"
    out = Out()

    async def run(self):
        self.state["place"] = 7
        await asyncio.Event().wait()


async def test_what_run_changes_in_the_state_is_stored():
    """No turn is needed for it."""
    store = MemoryStore()
    async with drive(StateInRun, store=store) as node:
        await node.wait_for(lambda: store.entries)
        assert node.engine.committer.is_clean
        stored = store.copy()
    async with drive(StateInRun, store=stored) as node:
        assert node.node.state["place"] == 7


class SlowGenerator(Node):
    """Yield a value now and then."""

    type = "test/slow-generator"
    value = In()
    out = Out()

    def on_start(self):
        self.go_on = threading.Event()

    def on_message(self, message):
        self.state["n"] = 1
        yield 1
        time.sleep(0.02)
        yield 2
        self.go_on.wait(10)
        if message.payload == "fail":
            raise ValueError("half way")


async def test_a_slow_generators_values_go_out_as_they_come():
    """They do not wait for 64 of them; when it fails half way, the state is as it was."""
    async with drive(SlowGenerator) as node:
        putting = asyncio.create_task(node.put("fail"))
        await node.wait_for(lambda: len(node.messages()) == 2)
        node.node.go_on.set()
        await putting
        assert [one["text"] for one in node.errors] == ["half way"] and "n" not in node.node.state


class StuckBatch(Node):
    """A sync batch that is too slow."""

    type = "test/stuck-batch"
    value = In()
    out = Out()

    def on_batch(self, messages):
        for message in messages:
            until_s = time.monotonic() + message.payload
            while time.monotonic() < until_s:
                time.sleep(0.001)
        return [message.payload for message in messages]


async def test_a_batch_and_a_timer_are_ended_by_the_time_out_too():
    """What takes too long is ended before the next begins, and its changes are undone."""
    async with drive(StuckBatch, settings={"timeout_s": 0.1}) as node:
        await node.put(30.0)
        await node.put(0.0)
        assert await node.sent() == [0.0]
        assert [one["error"] for one in node.errors] == ["HandlerTimeout"]


async def test_a_time_out_is_raised_in_its_own_call_or_not_at_all():
    """However close to its end a call is when it expires, the thread and the calls after it are not hit."""
    thread = HandlerThread(asyncio.get_running_loop(), "t")
    outcomes = set()
    for n in range(400):
        call = Call(None, time.sleep, 0.001)
        future = thread.call(call)
        await asyncio.sleep(0.0008 + n % 10 * 0.00005)
        call.expire(thread.ident, 0.0005)
        await future
        outcomes.add(type(call.error).__name__)
        after = Call(None, sum, range(2000))
        await thread.call(after)
        assert after.error is None and after.values == [sum(range(2000))]
    assert outcomes <= {"NoneType", "HandlerTimeout"} and "HandlerTimeout" in outcomes
    thread.close()


async def test_statuses_past_the_window_of_a_slow_listener_do_not_pile_up():
    """The newest waits."""
    async with drive(Full) as node:
        port = type(node.engine.emitter.ports["out"])(Origin("test", "node", 1), "status", node._publish)
        port.on_credit = node.engine.emitter._credit.set
        node.engine.emitter.ports["status"] = port
        wired = wire(node, "status", 2)
        for n in range(1000):
            node.node.set_status(str(n))
        assert len(wired.owed) == 2
        wired.ack(port)
        await node.wait_for(lambda: len(wired.owed) == 1)
        assert unpack(wired.owed[0].packed)["payload"]["text"] == "999"


def test_packing_in_two_threads_does_not_mix():
    """Packing a map whose class is Python's runs Python code, and another thread may go on in the middle of it."""

    class Slow(dict):
        def items(self):
            for pair in super().items():
                time.sleep(0.0005)
                yield pair

    wrong: list = []

    def others() -> None:
        wrong.extend(n for n in range(100) if unpack(pack({"a": n})) != {"a": n})

    thread = threading.Thread(target=others)
    thread.start()
    for _ in range(20):
        assert unpack(pack(Slow(x=1, y=2))) == {"x": 1, "y": 2}
    thread.join()
    assert not wrong
