"""A script as its node uses it: results in order, deadlines, kills, the breaker, contexts."""

import asyncio
import os
import signal

import psutil
import pytest

from flowcore.script.breaker import Breaker
from flowcore.script.client import ScriptWorker
from flowcore.script.errors import ScriptKilled, ScriptPaused, ScriptRefused, ScriptTimeout, ZygoteGone


def items(*payloads):
    return [(payload, "", {}) for payload in payloads]


def payloads(results):
    return [result.outputs[0][1] if result.outputs else result.error for result in results]


async def test_results_are_in_order_and_whole(script):
    """One result for each message, also when a batch is larger than a frame may be."""
    worker = await script("return msg.payload")
    for batch in ([1], list(range(500)), [bytes([k]) * 100_000 for k in range(20)]):
        assert payloads(await worker.call(items(*batch))) == batch


async def test_anything_msgpack_holds_goes_both_ways(script):
    """Types survive; what has no form in msgpack is this message's error alone."""
    worker = await script("return {1, 2} if msg.payload == 'set' else msg.payload")
    values = [None, True, -5, 1 << 63, 1.5, "ü", b"\0", [1, [2]], {"a": {"b": []}}, {1: 2}]
    assert payloads(await worker.call(items(*values[1:]))) == values[1:]
    good, bad = await worker.call(items("x", "set"))
    assert good.outputs[0][1] == "x"
    assert bad.error.type == "TypeError"
    assert "set" in str(bad.error)


async def test_a_payload_that_cannot_go_over_fails_alone(script):
    """The neighbours of a message that can't be packed are run."""
    worker = await script("return msg.payload")
    results = await worker.call([(1, "", {}), (object(), "", {}), (3, "", {})])
    assert [result.error is None for result in results] == [True, False, True]


async def test_a_timeout_hits_the_guilty_one_only(script):
    """The others are run again in a new worker; the error has the line, and what was printed."""
    worker = await script("print(msg.payload)\nwhile msg.payload == 3:\n    pass\nreturn msg.payload", deadline_s=0.4)
    first = worker.pid
    results = await worker.call(items(*range(6)))
    assert [result.error is None for result in results] == [True, True, True, False, True, True]
    error = results[3].error
    assert isinstance(error, ScriptTimeout)
    assert error.line in (2, 3)
    assert results[3].notes == [("info", "3", None)]
    assert worker.pid != first
    assert not psutil.pid_exists(first) or psutil.Process(first).status() == psutil.STATUS_ZOMBIE
    assert worker.kills == 1


async def test_slow_messages_each_have_their_own_deadline(script):
    """Many that are within the deadline take longer together, and are fine."""
    worker = await script("time.sleep(0.2)\nreturn msg.payload", deadline_s=0.5)
    assert payloads(await worker.call(items(*range(4)))) == [0, 1, 2, 3]
    assert worker.kills == 0


async def test_a_worker_that_dies_condemns_the_message_in_work(script):
    """The page says which one it was."""
    worker = await script("import os\nif msg.payload == 2: os._exit(7)\nreturn msg.payload")
    results = await worker.call(items(0, 1, 2, 3))
    assert payloads(results)[:2] == [0, 1]
    assert isinstance(results[2].error, ScriptKilled)
    assert "exit status 7" in str(results[2].error)
    assert payloads(results)[3] == 3


async def test_three_kills_pause_the_script_and_one_good_message_ends_it(script):
    """Paused messages fail at once with the reason; half open lets one through."""
    breaker = Breaker(kills=3, within_s=60, open_s=0.3)
    worker = await script("import os\nif msg.payload: os._exit(1)\nreturn 'fine'", breaker=breaker)
    results = await worker.call(items(1, 1, 1, 0, 1))
    assert [type(result.error) for result in results] == [ScriptKilled] * 3 + [ScriptPaused] * 2
    assert "exit status 1" in str(results[4].error)
    await asyncio.sleep(breaker.open_for(asyncio.get_running_loop().time()) + 0.01)  # it is time that is tested
    results = await worker.call(items(0, 0))
    assert payloads(results) == ["fine", "fine"]
    assert not breaker.half_open


async def test_context_survives_a_kill_within_a_batch(script):
    """A new worker begins with what the results given out so far have changed."""
    stored = {"n": 10}
    source = "n = context.get('n') + 1\ncontext.set('n', n)\nwhile msg.payload: pass\nreturn n"
    worker = await script(source, context=lambda: dict(stored), deadline_s=0.4)
    results = await worker.call(items(0, 0, 1, 0))
    assert payloads(results)[:2] == [11, 12]
    assert payloads(results)[3] == 13
    assert results[3].changes == {"n": [13]}


async def test_a_failed_message_changes_nothing(script):
    """Its context is put back in the worker too."""
    source = "context.set('n', msg.payload)\nif msg.payload < 0: raise ValueError\nreturn context.get('n')"
    worker = await script(source)
    good, bad = await worker.call(items(5, -1))
    assert good.changes == {"n": [5]}
    assert bad.changes == {}
    worker2 = await script("return context.get('n')", context=lambda: {"n": 5})
    assert payloads(await worker2.call(items(0))) == [5]


class Shared:
    def __init__(self):
        self.values = {"limit": 80}

    async def get(self, key, default=None):
        if key == "slow":
            await asyncio.sleep(60)
        return self.values.get(key, default)

    async def set(self, key, value):
        self.values[key] = value


async def test_shared_context_asks_the_node(script):
    """get and set go to the node; what takes too long is the script's error, not its end."""
    shared = Shared()
    source = (
        "if msg.payload == 'slow': return flow.get('slow')\nflow.set('seen', msg.payload)\n"
        "return [flow.get('limit'), flow.get('none', 'default')]"
    )
    worker = await script(source, flow_context=shared, deadline_s=1.0)
    first, slow = await worker.call(items("x", "slow"))
    assert first.outputs[0][1] == [80, "default"]
    assert shared.values["seen"] == "x"
    assert slow.error.type == "RuntimeError"
    assert worker.kills == 0
    other = await script("return global_.get('x')")
    (none,) = await other.call(items(1))
    assert "no global context" in str(none.error)


async def test_cancelling_a_call_ends_its_worker(script):
    """What it does afterwards belongs to nobody; the next call has a new one."""

    class Heard(Shared):
        async def set(self, key, value):
            heard.set()

    heard = asyncio.Event()
    source = "if msg.payload:\n    flow.set('here', 1)\n    while True: pass\nreturn 'fine'"
    worker = await script(source, flow_context=Heard())
    call = asyncio.create_task(worker.call(items(1)))
    pid = worker.pid
    await heard.wait()
    call.cancel()
    with pytest.raises(asyncio.CancelledError):
        await call
    assert worker.pid is None
    assert payloads(await worker.call(items(0))) == ["fine"]
    assert worker.pid != pid


@pytest.mark.parametrize(
    ("source", "line", "text"),
    [
        ("x = 1\nif x\n    pass", 2, "expected ':'"),
        ("def f(:\n  pass", 1, "invalid syntax"),
        ("return 1\n\n  x = 2", 3, "unexpected indent"),
        ("async def on_message(msg): pass", 1, "async"),
        ("x = 1\ndef on_start(): pass", 2, "on_message"),
        ("\0", None, "null bytes"),
        ("(" * 1000, 1, "too many nested parentheses"),
        ("break", 1, "outside loop"),
    ],
)
async def test_what_does_not_compile_is_refused_with_its_line(script, source, line, text):
    """The line is the user's own."""
    with pytest.raises(ScriptRefused, match=text) as refused:
        await script(source)
    assert refused.value.line == line


async def test_on_start_that_fails_is_refused_with_its_line(script):
    """At `begin`; and a hanging one is ended."""
    worker = await script("def on_message(msg): pass\ndef on_start():\n    1 / 0")
    with pytest.raises(ScriptRefused, match="line 3: ZeroDivisionError") as refused:
        await worker.begin()
    assert "in on_start" in refused.value.traceback
    worker = await script("def on_message(msg): pass\nwhile True: pass", deadline_s=0.3)
    with pytest.raises(ScriptRefused, match=r"line 2: it took longer than 0\.3 s"):
        await worker.begin()


async def test_a_killed_worker_says_so_in_the_next_call(script):
    """SIGKILL from outside between two calls: nobody's message is lost for it."""
    worker = await script("return msg.payload")
    assert payloads(await worker.call(items(1))) == [1]
    os.kill(worker.pid, signal.SIGKILL)
    assert payloads(await worker.call(items(2, 3)))[1:] == [3]


async def test_without_a_zygote_there_is_an_error(folder, monkeypatch):
    """After the time given, with the path."""
    monkeypatch.setattr("flowcore.script.channel._CONNECT_S", 0.1)
    with pytest.raises(ZygoteGone, match=r"script\.sock"):
        await ScriptWorker(folder / "script.sock", "return 1").start()


async def test_strings_in_quotes_keep_their_indentation(script):
    """The body is wrapped as a tree, not as text."""
    worker = await script('text = """a\n  b\n"""\nreturn text')
    assert payloads(await worker.call(items(0))) == ["a\n  b\n"]


async def test_time_zones_dates_and_modules_work_locked_in(script):
    """What the standard library reads from files later has been read before."""
    source = (
        "from zoneinfo import ZoneInfo\nfrom decimal import Decimal\nimport uuid, hashlib\n"
        "then = datetime.datetime.strptime('2026-07-01 12:00', '%Y-%m-%d %H:%M').replace(tzinfo=ZoneInfo('UTC'))\n"
        "uuid.uuid4(), hashlib.sha256(b'x').hexdigest(), random.random(), time.localtime(), 'x'.encode('cp1252')\n"
        "return [then.astimezone(ZoneInfo('Europe/Berlin')).isoformat(), str(Decimal('0.1') * 3)]"
    )
    worker = await script(source)
    assert payloads(await worker.call(items(0))) == [["2026-07-01T14:00:00+02:00", "0.3"]]
    (unknown,) = await (await script("from zoneinfo import ZoneInfo\nZoneInfo('No/Where')")).call(items(0))
    assert unknown.error.type == "ZoneInfoNotFoundError"
