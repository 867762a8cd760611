"""The template node, with the real zygote and real workers."""

import pytest
from flowcore_nodes.core.template import Template

from flowcore.node.context import Context
from flowcore.node.testing import MemoryValues


@pytest.fixture
def template(drive_script):
    """`drive` for template nodes: `template(text, **config)`."""
    return lambda text, **config: drive_script(Template, template=text, **config)


async def shared(**values):
    """Contexts of a flow with these values."""
    contexts = MemoryValues()
    for key, value in values.items():
        await Context(contexts, "test").set(key, value)
    return contexts


async def test_jinja2_sees_the_message(template):
    """And env, flow, global; the result goes where the path says, the rest stays."""
    text = (
        "{% for x in payload.xs %}{{ x * 2 }};{% endfor %}{{ topic }} {{ msg.unit }} {{ env.LINE }} {{ flow.limit }}"
        "<{{ nothing }}>\n"
    )
    async with template(text, env={"LINE": 1}, path="payload.text", contexts=await shared(limit=80)) as node:
        await node.put({"xs": [1, 2.5]}, topic="a", meta={"unit": "°"})
        (sent,) = await node.sent_messages(1, "out")
        assert sent.payload == {"xs": [1, 2.5], "text": "2;5.0;a ° 1 80<>\n"}
        assert (sent.topic, sent.meta) == ("a", {"unit": "°"})


async def test_the_template_may_come_with_the_message(template):
    """As in Node-RED: only where the node has none."""
    async with template("", path="meta.body") as node:
        await node.put(5, meta={"template": "<{{ payload }}>"})
        await node.put(6, meta={"template": "{{ payload"})
        await node.put(7)
        sent = await node.sent_messages(2, "out")
        assert [message.meta["body"] for message in sent] == ["<5>", ""]
        assert "line 1" in node.errors[0]["text"]
    async with template("own", syntax="plain") as node:
        await node.put(5, meta={"template": "other"})
        assert await node.sent(1) == ["own"]


async def test_the_text_may_be_read_as_json_or_yaml(template):
    """YAML as 1.2 has it; what is none is the message's error."""
    async with template('{"a": {{ payload }}}', output="json") as node:
        await node.put(1, "]", "NaN")
        assert await node.sent(1) == [{"a": 1}]
        assert ["not JSON" in error["text"] for error in node.errors] == [True, True]
    async with template("a: {{ payload }}\nb: [no, 2024-01-01, 1.5, true]", output="yaml") as node:
        await node.put("x", "[")
        assert await node.sent(1) == [{"a": "x", "b": ["no", "2024-01-01", 1.5, True]}]
        assert "not YAML" in node.errors[0]["text"]


MUSTACHE = [
    ("{{payload}} {{{payload}}} {{&payload}}", "<a href='x'>&`=/",
     "&lt;a href&#x3D;&#39;x&#39;&gt;&amp;&#x60;&#x3D;&#x2F; <a href='x'>&`=/ <a href='x'>&`=/"),
    ("{{#payload}}<{{name}}{{^last}},{{/last}}>{{/payload}}", [{"name": "a"}, {"name": "b", "last": True}], "<a,><b>"),
    ("{{#payload}}{{.}};{{/payload}}", [1, 2.0, 2.5, True, None, "x"], "1;2;2.5;true;;x;"),
    ("{{payload.a.b}} {{payload.list.1}} {{payload.list.length}} {{payload.none.x}}|",
     {"a": {"b": 1}, "list": [5, 6]}, "1 6 2 |"),
    ("{{payload}}", {"a": 1}, "[object Object]"),
    ("{{payload}}", [1, [2, 3]], "1,2,3"),
    ("{{payload}}{{! a comment }}", 1e21, "1e+21"),
    ("{{payload}}", 0.00001, "0.00001"),
    ("{{payload}}", 1.5e-9, "1.5e-9"),
    ("{{payload}}", None, ""),
    ("{{payload}}", False, "false"),
    ("{{#payload}}yes{{/payload}}{{^payload}}no{{/payload}}", 0, "no"),
    ("{{#payload}}yes{{/payload}}{{^payload}}no{{/payload}}", {}, "yes"),
    ("{{#payload}}yes{{/payload}}{{^payload}}no{{/payload}}", [], "no"),
    ("{{#payload}}{{topic}} {{x}}{{/payload}}", {"x": 1}, "t 1"),
    ("a\n  {{#payload}}\n  b\n  {{/payload}}\nc\n", True, "a\n  b\nc\n"),
    ("{{=<% %>=}}<% payload %> {{payload}}", 1, "1 {{payload}}"),
    ("{{flow.limit}} {{flow.deep.x}} {{flow.none}} {{env.LINE}} {{env.NONE}} {{x}}|", 1, "80 5  one  7|"),
    ("{{> partial}}|", 1, "|"),
    ("{{payload}}", b"\xc3\xbc", "ü"),
]  # fmt: skip


async def test_mustache_is_that_of_node_red(template):
    """Escaping, sections, what numbers, lists and maps look like, what lies outside of the message."""
    for text, payload, wanted in MUSTACHE:
        contexts = await shared(limit=80, deep={"x": 5})
        async with template(text, syntax="mustache", env={"LINE": "one"}, contexts=contexts) as node:
            await node.put(payload, topic="t", meta={"x": 7})
            assert await node.sent(1) == [wanted], text
    async with template('{"a": "{{{payload}}}"}', syntax="mustache", output="json") as node:
        await node.put('say\n"', "two\nlines")
        assert await node.sent(1) == [{"a": "two\nlines"}]
        assert "not JSON" in node.errors[0]["text"]


async def test_a_template_that_does_not_compile_stops_the_start(template):
    for text, syntax, says in (("a\n{% if %}", "jinja2", "line 2"), ("{{#a}}", "mustache", "mustache|wrong|a")):
        with pytest.raises(Exception, match=says):
            async with template(text, syntax=syntax):
                pass


async def test_what_fails_is_this_messages_error(template):
    """A name that is not there where that is wanted, an endless loop, a result that has no place, a way out."""
    async with template("{{ payload.temp }}", strict=True) as node:
        await node.put({"temp": 1}, {})
        assert await node.sent(1) == ["1"]
        assert "line 1: UndefinedError" in node.errors[0]["text"]
    loop = "{% for a in range(99999) %}{% for b in range(99999) %}{{ payload }}{% endfor %}{% endfor %}"
    async with template("{% if payload %}" + loop + "{% else %}fine{% endif %}", timeout_s=0.4) as node:
        await node.put(0, 1, 0)
        assert await node.sent(2) == ["fine", "fine"]
        assert node.errors[0]["error"] in ("ScriptTimeout", "ScriptError")
    async with template("x", path="payload.a") as node:
        await node.put({}, 5)
        assert await node.sent(1) == [{"a": "x"}]
        assert len(node.errors) == 1
    async with template("{{ ''.__class__.__mro__ }}{{ msg.__init__.__globals__ }}") as node:
        await node.put(1)
        assert "SecurityError" in node.errors[0]["text"]
