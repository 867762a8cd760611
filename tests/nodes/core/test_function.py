"""The function node, with the real zygote and real workers."""

import textwrap

import numpy as np
import pytest
from flowcore_nodes.core.function import Function

from flowcore.node import Tensor
from flowcore.node.testing import MemoryStore, MemoryValues


@pytest.fixture
def function(drive_script):
    """`drive` for function nodes: `function(script, **config)`."""
    return lambda script, **config: drive_script(Function, script=script, **config)


async def test_the_body_of_a_function_changes_the_message(function):
    """As in Node-RED: change msg, return it; topic and meta travel along."""
    async with function("msg.payload = msg.payload * 2\nmsg.unit = 'C'\nreturn msg") as node:
        await node.put(1, 2.5, topic="a/b", meta={"from": "x"})
        sent = await node.sent_messages(2, "out")
        assert [message.payload for message in sent] == [2, 5.0]
        assert [message.topic for message in sent] == ["a/b", "a/b"]
        assert sent[0].meta == {"from": "x", "unit": "C"}


async def test_a_returned_value_nothing_and_a_list(function):
    """A value becomes the payload, None sends nothing, and with one output a list is a value."""
    async with function(
        "return {1: None, 2: [1, 2], 3: {'a': 1}, 4: {'payload': 9, 'topic': 't'}}[msg.payload]"
    ) as node:
        await node.put(1, 2, 3, 4)
        assert await node.sent(3) == [[1, 2], {"a": 1}, 9]
        assert node.messages()[-1].topic == "t"


async def test_several_outputs(function):
    """A list with a place for each output; a list inside sends several; None sends nothing there."""
    script = "return [msg, None, [1, 2]] if msg.payload == 'all' else Outputs(low=5)"
    async with function(script, outputs=["high", "low", "rest"]) as node:
        await node.put("all", "one")
        assert await node.sent(1, "high") == ["all"]
        assert await node.sent(2, "rest") == [1, 2]
        assert await node.sent(1, "low") == [5]


async def test_a_number_of_outputs_is_counted(function):
    """`outputs: 2` makes out1 and out2."""
    async with function("return [None, msg] if msg.payload > 5 else [msg, None]", outputs=2) as node:
        await node.put(1, 9)
        assert await node.sent(1, "out1") == [1]
        assert await node.sent(1, "out2") == [9]


async def test_what_a_slow_script_made_does_not_wait_for_what_is_behind_it(function):
    """Messages that arrived together: the result of each is sent before the script begins the next."""
    async with function("begun = time.time_ns()\ntime.sleep(0.05)\nreturn begun") as node:
        await node.put(*range(4))
        begun = await node.sent(4)
        sent = [message.ts_ns for message in node.messages()]
        assert all(out < later for out, later in zip(sent, begun[1:], strict=False)), (begun, sent)


async def test_node_send_and_yield(function):
    """What was sent is what the message was at that moment; a generator sends each it yields."""
    script = "for k in range(2):\n    msg.payload = k\n    node.send(msg)\nnode.send('x', 'out')\nyield 'y'\nyield msg"
    async with function(script) as node:
        await node.put("go")
        assert await node.sent(5) == [0, 1, "x", "y", 1]


async def test_an_error_names_the_line_and_the_rest_goes_on(function):
    """The message goes to the error port with the script's own traceback; its neighbours are handled."""
    async with function("limit = 10\nreturn limit / msg.payload") as node:
        await node.put(5, 0, 2)
        assert await node.sent(2) == [2.0, 5.0]
        (error,) = node.errors
        assert error["text"] == "line 2: ZeroDivisionError: division by zero"
        assert "line 2, in on_message" in error["traceback"]
        assert error["message"]["payload"] == 0
        await node.wait_for(lambda: len(node.given_up) == 1)


async def test_a_script_that_does_not_compile_stops_the_start(function):
    """With the line of the user's text."""
    with pytest.raises(Exception, match=r"line 2: SyntaxError: .*expected ':'"):
        async with function("x = 1\nif x\n    return msg"):
            pass


async def test_context_is_the_nodes_state(function):
    """It survives a restart; a message that raised has changed nothing."""
    store = MemoryStore()
    script = (
        "n = context.get('n', 0) + 1\ncontext.set('n', n)\n"
        "if msg.payload == 'bad':\n    raise ValueError('no')\nreturn n"
    )
    async with function(script, store=store) as node:
        await node.put("a", "bad", "b")
        assert await node.sent(2) == [1, 2]
        assert node.node.state["n"] == 2
    async with function(script, store=store) as node:
        await node.put("c")
        assert await node.sent(1) == [3]


async def test_flow_context_is_shared(function):
    """Two function nodes of a flow see one another's values."""
    contexts = MemoryValues()
    async with function("flow.set('limit', msg.payload)", contexts=contexts) as first:
        await first.put({"high": 7})
    async with function(
        "return [flow.get('limit'), flow.get('none', 1), global_.get('limit')]", contexts=contexts
    ) as node:
        await node.put(None)
        assert await node.sent(1) == [[{"high": 7}, 1, None]]


async def test_env_log_status_and_print(function, caplog):
    """What a script says is the node's: its log, its badge."""
    script = (
        "print('seen', msg.payload)\nnode.warn('careful')\nnode.status({'fill': 'yellow', 'text': env['LINE']})\n"
        "node.error('about this', msg)\nreturn env.get('LIMIT')"
    )
    with caplog.at_level("INFO"):
        async with function(script, env={"LINE": "one", "LIMIT": 80}) as node:
            await node.put(1)
            assert await node.sent(1) == [80]
            assert ("one", "warn") in node.statuses
            assert node.errors[0]["text"] == "about this"
    assert [(r.levelname, r.getMessage()) for r in caplog.records if "flowcore.node" in r.name] == [
        ("INFO", "seen 1"),
        ("WARNING", "careful"),
    ]


async def test_handlers_of_its_own(function):
    """A script may define on_message, with on_start and on_stop; what they send goes out."""
    script = (
        "import collections\nseen = collections.Counter()\n"
        "def on_start():\n    node.send('hello')\n"
        "def on_message(msg):\n    seen[msg.payload] += 1\n    return seen[msg.payload]\n"
        "def on_stop():\n    node.send('bye')\n"
    )
    driven = function(script)
    async with driven as node:
        await node.advance(0)
        await node.put("a", "a", "b")
        assert await node.sent(4) == ["hello", 1, 2, 1]
    assert await driven.sent(5) == ["hello", 1, 2, 1, "bye"]


async def test_an_endless_loop_fails_the_call_not_the_node(function):
    """The guilty message gets the time-out, with the line; the others are handled by a new worker, state and all."""
    script = "while msg.payload == 'loop': pass\ncontext.set('n', context.get('n', 0) + 1)\nreturn context.get('n')"
    async with function(script, timeout_s=0.4) as node:
        await node.put("a", "loop", "b")
        assert await node.sent(2) == [1, 2]
        assert [error["text"] for error in node.errors] == ["line 1: it took longer than 0.4 s"]
        assert node.statuses[-1] == ("runs again", "ok")


async def test_retries_are_the_engines(function):
    """With retries in the settings, messages go one by one, and a failed one is tried again."""
    script = "import time\nglobal n\nn = globals().get('n', 0) + 1\nif n < 3: raise ValueError(n)\nreturn n"
    async with function(script, settings={"retry": {"times": 3, "backoff_s": 0}}) as node:
        await node.put("x")
        assert await node.sent(1) == [3]
        assert node.errors == []


async def test_a_large_state_is_refused_and_the_worker_starts_from_what_is_stored(function):
    """A context beyond the state's limit fails; what was stored before stands."""
    script = "context.set(str(msg.payload), bytes(400_000))\nreturn len(context.keys())"
    async with function(script) as node:
        for k in range(45):
            await node.put(k)
        assert len(node.errors) >= 1
        assert len(node.node.state) < 45
        assert "16,777,216" in node.errors[0]["text"]


async def test_a_script_sees_what_a_tensor_is_and_passes_it_on(function):
    """At any depth, beside what it makes itself; its bytes never leave the node."""
    frame = np.full((480, 640, 3), 9, np.uint8)
    script = """
        image = msg.payload["image"]
        node.log(repr(image))
        return {"seen": [image.shape, image.dtype, image.device, image.nbytes], "again": [image]}
    """
    async with function(textwrap.dedent(script)) as node:
        await node.put({"image": frame}, 5)
        (made,) = await node.sent()
        assert made["seen"] == [[480, 640, 3], "uint8", "cpu", frame.nbytes]
        assert isinstance(made["again"][0], Tensor) and made["again"][0].numpy().min() == 9
        assert [error["error"] for error in node.errors] == ["ScriptError"]  # of the 5, which has no parts


@pytest.mark.parametrize(
    ("script", "says"),
    [
        ("return msg.payload.numpy()", "not what is in it"),
        ("return msg.payload[0]", "not what is in it"),
        ("return len(msg.payload)", "not what is in it"),
        ("context.set('kept', msg.payload)", "can't be kept in context"),
        ("flow.set('kept', msg.payload)", "StandIn"),
        ("msg.payload.token = b'x' * 12\nreturn msg", "did not come with its message"),
        ("import msgpack\nreturn msgpack.ExtType(1, b'x')", "ended"),
        ("from flowcore.bus.envelope import Extension\nreturn Extension(1, b'x')", "ended"),
    ],
)
async def test_a_script_has_no_way_to_the_bytes_nor_to_other_tensors(function, script, says):
    """Also not by making up what only nodes may say to each other: the worker that tries is ended."""
    async with function(script) as node:
        await node.put(np.zeros((480, 640), np.uint8))
        assert await node.sent() == []
        (error,) = node.errors
        assert says in error["text"] or ("ended" in says and "ModuleNotFoundError" in error["traceback"])


async def test_a_tensor_of_an_earlier_message_is_none_of_this_one(function):
    async with function("global last\nlast, old = msg.payload, globals().get('last')\nreturn old or 'none'") as node:
        await node.put(np.zeros((480, 640), np.uint8))
        await node.put(np.ones((480, 640), np.uint8))
        assert await node.sent() == ["none"]
        assert "did not come with its message" in node.errors[0]["text"]


async def test_what_is_too_large_for_a_worker_is_refused_and_the_worker_lives(function):
    async with function("return len(msg.payload)") as node:
        await node.put("x" * 20_000_000, "x" * 1_000_000)
        assert await node.sent() == [1_000_000]
        assert "at most" in node.errors[0]["text"]
