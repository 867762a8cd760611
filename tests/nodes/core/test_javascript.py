"""The JavaScript function node, with the real zygote and real workers: what a function node of Node-RED does."""

import math

import numpy as np
import pytest
from flowcore_nodes.core.javascript import JavaScript

from flowcore.node import Tensor
from flowcore.node.testing import MemoryStore, MemoryValues


@pytest.fixture
def javascript(drive_script):
    """`drive` for JavaScript nodes: `javascript(script, **config)`."""
    return lambda script, **config: drive_script(JavaScript, script=script, **config)


async def test_the_body_of_a_function_changes_the_message(javascript):
    """Properties of msg are entries of meta, both ways; the topic travels along."""
    async with javascript("msg.payload *= 2;\nmsg.unit = msg.from + 'C';\ndelete msg.old;\nreturn msg;") as node:
        await node.put(1, 2.5, topic="a/b", meta={"from": "°", "old": 1})
        sent = await node.sent_messages(2, "out")
        assert [message.payload for message in sent] == [2, 5]
        assert [type(message.payload) for message in sent] == [int, int]
        assert (sent[0].topic, sent[0].meta) == ("a/b", {"from": "°", "unit": "°C"})


async def test_what_is_returned(javascript):
    """As in Node-RED: nothing, a list over the outputs, lists in it, places without a message."""
    script = """return {
        none: null, undefined: undefined, both: [msg, {payload: 2, topic: 'new'}], second: [null, msg],
        several: [[{payload: 'a'}, null, {payload: 'b'}]], more: [null, null, msg], empty: [], zero: 0,
    }[msg.payload];"""
    async with javascript(script, outputs=2) as node:
        await node.put("none", "undefined", "both", "second", "several", "more", "empty", "zero", topic="t")
        assert await node.sent(3, "out1") == ["both", "a", "b"]
        second = await node.sent_messages(2, "out2")
        assert [(message.payload, message.topic) for message in second] == [(2, "new"), ("second", "t")]
        assert node.errors == []


async def test_what_is_no_message_is_an_error(javascript):
    """Node-RED says so in its log and drops it; here the message goes to the error port, and what else there is on."""
    script = "return [[5, 'text', true, () => 1, [[msg]], new Date(), Buffer.from('x')][msg.payload], msg];"
    async with javascript(script, outputs=2) as node:
        await node.put(*range(7))
        assert await node.sent(7, "out2") == list(range(7))
        assert await node.sent(0, "out1") == []
        types = [error["text"].removeprefix("Function tried to send a message of type ") for error in node.errors]
        assert types == ["number", "string", "boolean", "function", "Array", "Date", "Buffer"]


async def test_send_takes_the_message_as_it_is_then(javascript):
    """A copy is sent, unless it is said that none is needed; what is returned comes after."""
    script = "node.send(msg); msg.payload = 2; node.send([[msg, msg]], false); msg.payload = 3; return msg;"
    async with javascript(script) as node:
        await node.put(1)
        assert await node.sent(4) == [1, 3, 3, 3]


async def test_values_there_and_back(javascript):
    """Whole numbers stay whole where they are safe; bytes are Buffers; what JSON has no form for survives."""
    values = [
        None,
        True,
        -5,
        2**53 - 1,
        1.5,
        "ü\0",
        b"\0\xff",
        [1, [b"x"]],
        {"a": {"b": []}},
        math.inf,
        2**60,
        -(2**63),
    ]
    async with javascript("return msg;") as node:
        await node.put(*values, math.nan)
        sent = await node.sent(len(values) + 1)
        assert sent[:-1] == values
        assert [type(value) for value in sent[:-1]] == [type(value) for value in values]
        assert math.isnan(sent[-1])
    script = """return {payload: [2**53, 1e20, 0.1 + 0.2, -0, 10n, undefined, new Date(0), new Map([["a", 1]]),
        new Set([1]), new Uint8Array([1]), new Uint16Array([300]), Buffer.alloc(1).buffer,
        "\\ud800x", new Error("e"), /x/g]};"""
    made = [2.0**53, 1e20, 0.1 + 0.2, 0, 10, None, "1970-01-01T00:00:00.000Z", {"a": 1}, [1], b"\1", [300], b"\0",
            "\ufffdx", {"name": "Error", "message": "e"}, "/x/g"]  # fmt: skip
    async with javascript(script) as node:
        await node.put(1)
        (sent,) = await node.sent()
        assert sent == made
        assert type(sent[1]) is float


WRONG = {
    "return {payload: 2n ** 70n}": "64 bits",
    "const a = {}; a.a = a; return {payload: a}": "TypeError: circular reference",
    "return {payload: 'x'.repeat(300000)}": "300,0",
    "while (true) node.send({payload: 1})": "more than 1000 messages",
    "context.set('f', () => 1)": "can't be stored",
    "msg.payload.foo.bar": "line 1: TypeError",
    "throw 'words'": "words",
    "throw {code: 5}": '"code":5',
    "node.on('input', () => 1)": "Cannot add listener",
    "require('fs')": "ReferenceError: require is not defined",
    "await new Promise(() => {})": "nothing is left to settle",
}


async def test_what_goes_wrong_is_this_messages_error(javascript):
    """The next message is handled."""
    for script, says in WRONG.items():
        async with javascript(f"if (msg.payload === 0) return msg; {script}") as node:
            await node.put("bad", 0)
            assert await node.sent(1) == [0]
            assert [says in error["text"] for error in node.errors] == [True], node.errors


async def test_an_error_names_the_line(javascript):
    """With the script's own traceback; also inside of what the script calls."""
    script = "function half(x) {\n  if (!x) throw new RangeError('zero');\n  return x / 2;\n}\n"
    script += "return {payload: half(msg.payload)};"
    async with javascript(script) as node:
        await node.put(4, 0)
        assert await node.sent(1) == [2]
        (error,) = node.errors
        assert error["text"] == "line 2: RangeError: zero"
        assert "line 5\n" in error["traceback"] and "line 2, in half" in error["traceback"]
        assert error["message"]["payload"] == 0


BROKEN = [
    ({"script": "let x = 1;\nlet y = ;"}, "line 2: SyntaxError"),
    ({"script": "if (msg) {\n  return msg;"}, "line 2: SyntaxError.*bracket"),
    ({"script": "return msg", "on_start": "\nlet ="}, "line 2: SyntaxError: on_start"),
    ({"script": "return msg", "on_start": "\nnone()"}, "line 2: ReferenceError"),
    ({"script": "return msg", "on_stop": "}"}, "SyntaxError: on_stop"),
    ({"script": "a\0b"}, "null character"),
]


async def test_a_script_that_does_not_compile_stops_the_start(drive_script):
    """So does On Start where it fails: with the line of the user's text."""
    for config, says in BROKEN:
        with pytest.raises(Exception, match=says):
            async with drive_script(JavaScript, **config) as node:
                await node.advance(0)
                raise RuntimeError(node.errors[0]["text"])


async def test_context_is_the_nodes_state(javascript):
    """Over a restart, with paths and several keys; what a failed message changed, in place too, is undone."""
    store = MemoryStore()
    script = """
        const n = (context.get('n') || 0) + 1, list = context.get('seen') || [];
        list.push(n);
        context.set(['n', 'seen', 'a.b[1].c'], [n, list, n]);
        context.get('seen').push('again');
        if (msg.payload === 'bad') throw new Error('no');
        return {payload: [context.get(['n', 'seen', 'a.b[1].c', 'none.x']), context.keys()]};
    """
    keys = ["n", "seen", "a"]
    async with javascript(script, store=store) as node:
        await node.put("a", "bad", "b")
        first, second = await node.sent(2)
        assert first == [[1, [1, "again"], 1, None], keys]
        assert second == [[2, [1, "again", 2, "again"], 2, None], keys]
        assert dict(node.node.state) == {"n": 2, "seen": second[0][1], "a": {"b": [None, {"c": 2}]}}
    async with javascript("context.set('a', undefined); return {payload: context.get('n')}", store=store) as node:
        await node.put("c")
        assert await node.sent(1) == [2]
        assert sorted(node.node.state) == ["n", "seen"]


async def test_flow_and_global_are_shared(javascript):
    """Asked of the node when the script asks; callbacks as in Node-RED."""
    contexts = MemoryValues()
    async with javascript(
        "flow.set('limit', {high: [1, msg.payload]}); global.set('g', 1n)", contexts=contexts
    ) as node:
        await node.put(7)
        assert node.errors == []
    script = """
        let called;
        flow.get('limit.high[1]', (error, value) => { called = [error, value]; });
        flow.set('limit.low', 1);
        return {payload: [flow.get('limit'), flow.get('none'), global.get('g'), context.flow.get('limit.low'), called]};
    """
    async with javascript(script, contexts=contexts) as node:
        await node.put(None)
        assert await node.sent(1) == [[{"high": [1, 7], "low": 1}, None, 1, 1, [None, 7]]]


async def test_what_a_script_says(javascript, caplog):
    """Its log, its badge, errors about a message of its own."""
    script = """
        node.log('seen', {a: [1, 'x']}); node.warn('careful'); console.log('%s is %d', 'it', 5);
        node.status({fill: 'yellow', shape: 'ring', text: env.get('LINE')});
        node.error('about this', {payload: 'mine', topic: 't', x: 1}); node.error('only said');
        return {payload: [node.id, env.get('LIMIT'), env.get('NONE'), env.get('NR_NODE_ID') === node.id]};
    """
    with caplog.at_level("INFO"):
        async with javascript(script, env={"LINE": "one", "LIMIT": 80}) as node:
            await node.put(1)
            assert await node.sent(1) == [[node.node.id, 80, None, True]]
            assert ("one", "warn") in node.statuses
            (error,) = node.errors
            assert (error["text"], error["message"]["payload"]) == ("about this", "mine")
            assert error["message"]["meta"] == {"x": 1}
    said = [(r.levelname, r.getMessage()) for r in caplog.records if "flowcore.node" in r.name]
    assert said == [
        ("INFO", "seen { a: [ 1, 'x' ] }"), ("WARNING", "careful"), ("INFO", "it is 5"), ("ERROR", "only said"),
    ]  # fmt: skip


async def test_timers_go_by_the_nodes_clock(javascript):
    """setTimeout sends after its message is done, setInterval again and again until it is cleared."""
    script = """
        if (msg.payload === 'stop') { clearInterval(context.get('t')); return; }
        context.set('t', setInterval(() => node.send({payload: 'again'}), 10000));
        setTimeout((word) => { msg.payload = word; node.send(msg); }, 5000, 'later');
        return {payload: 'now'};
    """
    async with javascript(script) as node:
        await node.put("go", topic="t")
        assert await node.sent() == ["now"]
        await node.advance(6)
        assert await node.sent(2) == ["now", "later"]
        assert node.messages()[-1].topic == "t"
        await node.advance(5)
        assert await node.sent(3) == ["now", "later", "again"]
        await node.advance(10)
        assert await node.sent(4) == ["now", "later", "again", "again"]
        await node.put("stop")
        await node.advance(30)
        assert len(await node.sent()) == 4


async def test_an_error_in_a_timer_is_told(javascript):
    async with javascript("setTimeout(() => { throw new Error('late'); }, 1000)") as node:
        await node.put(1)
        await node.advance(2)
        await node.wait_for(lambda: node.errors)
        assert "late" in node.errors[0]["text"]


async def test_async_functions_are_waited_for(javascript):
    """In the order of the messages; what is awaited in vain is an error."""
    script = """
        const wait = (ms) => new Promise((resolve) => setTimeout(resolve, ms));
        if (msg.payload === 0) await Promise.reject(new Error('rejected'));
        await wait(msg.payload);
        Promise.resolve().then(() => node.send({payload: 'before'}));
        return msg;
    """
    async with javascript(script) as node:
        await node.put(30, 0, 1)
        assert await node.sent(4) == ["before", 30, "before", 1]
        assert "rejected" in node.errors[0]["text"]


async def test_setup_and_close(javascript):
    """On Start may send, wait and store; a script sees what it made global; On Stop may say, not send."""
    driven = javascript(
        "return {payload: twice(msg.payload) + context.get('n')}",
        on_start="twice = (x) => x * 2; await new Promise((r) => setTimeout(r, 5));\n"
        "context.set('n', 1); node.send({payload: 'hello'});",
        on_stop="node.warn('bye ' + context.get('n')); node.send({payload: 1});",
    )
    async with driven as node:
        await node.advance(0)
        await node.put(4)
        assert await node.sent(2) == ["hello", 9]
    assert await driven.sent() == ["hello", 9]


async def test_an_endless_loop_is_stopped_and_the_worker_lives(javascript):
    """The guilty message gets the time-out; the worker, its timers and what it knows stay."""
    script = (
        "let spins = 0;\nwhile (msg.payload === 'loop') spins += 1;\nn = (globalThis.n || 0) + 1;\nreturn {payload: n};"
    )
    async with javascript(script, timeout_s=0.3) as node:
        await node.put("a", "loop", "b", "loop", "c", "loop", "loop", "d")
        assert await node.sent(4) == [1, 2, 3, 4]
        assert [error["error"] for error in node.errors] == ["ScriptTimeout"] * 4
        assert all("it took longer than 0.3 s" in error["text"] for error in node.errors)
        assert node.statuses[-1] == ("runs again", "ok")


async def test_memory_that_runs_out_is_an_error_and_what_filled_it_goes(javascript):
    """The next messages have a new worker, with the state."""
    script = """
        context.set('n', (context.get('n') || 0) + 1);
        if (msg.payload) { kept = []; while (true) kept.push(new Array(1000).fill(1)); }
        return {payload: context.get('n')};
    """
    async with javascript(script, memory_mb=64) as node:
        await node.put(0, 1)
        await node.put(0)
        assert await node.sent(2) == [1, 2]
        assert "out of memory: the script may use 64 MB" in node.errors[0]["text"]


async def test_retries_are_the_engines(javascript):
    script = "n = (globalThis.n || 0) + 1; if (n < 3) throw new Error(n); return {payload: n};"
    async with javascript(script, settings={"retry": {"times": 3, "backoff_s": 0}}) as node:
        await node.put("x")
        assert await node.sent(1) == [3]
        assert node.errors == []


async def test_a_script_sees_what_a_tensor_is_and_passes_it_on(javascript):
    frame = np.full((480, 640, 3), 9, np.uint8)
    script = "const f = msg.payload.image; return {payload: {seen: [f.shape, f.dtype, f.nbytes], again: [f]}};"
    async with javascript(script) as node:
        await node.put({"image": frame}, 5)
        (made,) = await node.sent()
        assert made["seen"] == [[480, 640, 3], "uint8", frame.nbytes]
        assert isinstance(made["again"][0], Tensor) and made["again"][0].numpy().min() == 9
        assert len(node.errors) == 1
    async with javascript("const old = globalThis.last; last = msg.payload; return {payload: old || 'none'}") as node:
        await node.put(frame)
        await node.put(frame)
        assert await node.sent() == ["none"]
        assert "did not come with its message" in node.errors[0]["text"]


BUFFER = """
const b = Buffer.from('héllo wörld'), t = [];
t.push(b.toString('hex'), b.toString('base64'), b.length, Buffer.from('aGk', 'base64').toString());
t.push(b.slice(0, 3).toString(), Buffer.from('zz', 'hex').length, Buffer.from('ff00', 'hex').toString('latin1'));
t.push(Buffer.from([256, 1, -1]).toJSON().data);
const r = Buffer.alloc(16);
r.writeInt16BE(-2, 0); r.writeUInt32LE(4000000000, 2); r.writeFloatBE(1.5, 6); r.writeUIntBE(0x123456, 10, 3);
t.push(r.toString('hex'), r.readInt16BE(0), r.readUint32LE(2), r.readFloatBE(6), r.readUIntBE(10, 3), r.readInt8(0));
t.push(Buffer.concat([Buffer.from('a'), Buffer.from('b')]).toString());
t.push(Buffer.compare(Buffer.from('a'), Buffer.from('b')), b.indexOf('wör'), b.includes('xyz'));
t.push(Buffer.isBuffer(b), Buffer.isBuffer(new Uint8Array(1)), b.equals(Buffer.from(b)));
t.push(Buffer.from([0xe2, 0x82, 0x41]).toString(), Buffer.byteLength('€'), Buffer.from('hi').toString('utf16le'));
t.push(Buffer.alloc(5, 'ab').toString(), Buffer.from([1, 2, 3, 4]).swap16().toString('hex'));
t.push(JSON.stringify(Buffer.from('a')));
try { r.readInt32BE(14); } catch (e) { t.push(e.name, e.code); }
try { r.writeUInt8(256, 0); } catch (e) { t.push(e.name); }
return {payload: t};
"""


async def test_buffers_are_those_of_nodejs(javascript):
    """The expected values are Node.js's own for the same lines."""
    async with javascript(BUFFER) as node:
        await node.put(1)
        assert await node.sent(1) == [[
            "68c3a96c6c6f2077c3b6726c64", "aMOpbGxvIHfDtnJsZA==", 13, "hi", "hé", 0, "ÿ\0", [0, 1, 255],
            "fffe00286bee3fc00000123456000000", -2, 4000000000, 1.5, 1193046, -1, "ab", -1, 7, False, True, False, True,
            "\ufffdA", 3, "楨", "ababa", "02010403", '{"type":"Buffer","data":[97]}',
            "RangeError", "ERR_OUT_OF_RANGE", "RangeError",
        ]]  # fmt: skip


UTIL = """
const u = RED.util, m = {payload: {list: [1, {'a b': 2}]}, d: new Date(0), b: Buffer.from('x')}, c = u.cloneMessage(m);
c.payload.list[1]['a b'] = 3;
u.setMessageProperty(m, 'new.deep[0].x', 5);
u.setMessageProperty(m, 'payload.list[0]', undefined);
let failed;
try { u.getMessageProperty(m, 'none.x'); } catch (e) { failed = e.name; }
return {payload: [m, c.payload, Buffer.isBuffer(c.b), c.d instanceof Date,
  u.getMessageProperty(m, "msg.payload.list[0]['a b']"), u.generateId().length, failed,
  u.compareObjects({a: [1]}, {a: [1]}), u.ensureString({a: 1}), u.ensureBuffer('x').length,
  util.format('%s=%j', 'a', {b: 1}), util.inspect({a: [1, 'x'], b: null}),
  u.normalisePropertyExpression("a.b[0]['c']")]};
"""


async def test_red_util(javascript):
    async with javascript(UTIL) as node:
        await node.put(1)
        assert await node.sent(1) == [[
            {"payload": {"list": [{"a b": 2}]}, "new": {"deep": [{"x": 5}]}, "d": "1970-01-01T00:00:00.000Z",
             "b": b"x"},
            {"list": [1, {"a b": 3}]}, True, True, 2, 16, "TypeError", True, '{"a":1}', 1, 'a={"b":1}',
            "{ a: [ 1, 'x' ], b: null }", ["a", "b", 0, "c"],
        ]]  # fmt: skip
