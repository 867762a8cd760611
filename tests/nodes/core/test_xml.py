"""`core/xml`: maps as xml2js makes them, and nothing of what hostile documents want."""

import pytest
from flowcore_nodes.core.xml import Xml
from pydantic import ValidationError

from flowcore.node.testing import drive

PUMP = '<p:pump id="7" xmlns:p="urn:p"><rpm>1450</rpm><rpm>2</rpm><off/><w> </w>run<c><![CDATA[<x>]]></c></p:pump>'


@pytest.mark.parametrize(
    ("config", "given", "expected"),
    [
        (
            {},
            PUMP,
            {
                "p:pump": {
                    "$": {"id": "7", "xmlns:p": "urn:p"}, "rpm": ["1450", "2"], "off": [""], "w": [" "],
                    "c": ["<x>"], "_": "run",
                }
            },
        ),
        ({"always_lists": False}, "<a><b>1</b><c>1</c><c>2</c></a>", {"a": {"b": "1", "c": ["1", "2"]}}),
        ({"keep_root": False, "attribute_key": "@"}, '<a n="1"/>', {"@": {"n": "1"}}),
        ({"attributes": "merge"}, '<a n="1"><n>2</n></a>', {"a": {"n": ["1", "2"]}}),
        ({"attributes": "ignore", "trim": True}, '<a n="1"> x </a>', {"a": "x"}),
        ({"text_key": "#"}, '<a n="1"> x </a>', {"a": {"$": {"n": "1"}, "#": " x "}}),
        ({}, b'<?xml version="1.0" encoding="latin-1"?><a>\xe9</a>', {"a": "é"}),
        ({}, "<!DOCTYPE a><a>&lt;&#233;</a>", {"a": "<é"}),
    ],
)  # fmt: skip
async def test_xml_becomes_a_map(config, given, expected):
    async with drive(Xml, **config) as node:
        await node.put(given)
        assert await node.sent() == [expected]


async def test_a_map_becomes_xml_and_the_same_map_again():
    value = {"pump": {"$": {"id": 'a"b\n<'}, "rpm": ["1450", "2"], "off": [""], "x": [{"_": " y ", "$": {"u": "&"}}]}}
    async with drive(Xml) as node:
        await node.put(value)
        (text,) = await node.sent()
        assert text.startswith('<?xml version="1.0" encoding="UTF-8" standalone="yes"?><pump id="a&quot;b&#xA;&lt;">')
        await node.put(text)
        assert (await node.sent())[1] == value


async def test_what_else_can_be_written():
    async with drive(Xml, indent=2, declaration=False, root="reading") as node:
        await node.put({"t": 20.5, "ok": True, "none": None, "l": [1, {"a": 2}]}, {"a": [{"b": 1}]})
        assert await node.sent() == [
            "<reading>\n  <t>20.5</t>\n  <ok>true</ok>\n  <none/>\n  <l>1</l>\n  <l>\n    <a>2</a>\n  </l>\n</reading>",
            "<a>\n  <b>1</b>\n</a>",
        ]


@pytest.mark.parametrize(
    ("given", "text"),
    [
        ("<a>", "no element found at line 1 column 4"),
        ("<a></b>", "mismatched tag"),
        ("", "no element found"),
        ('<!DOCTYPE a [<!ENTITY x "y">]><a>&x;</a>', "declares an entity, 'x'"),
        ('<!DOCTYPE a [<!ENTITY x SYSTEM "file:///etc/passwd">]><a>&x;</a>', "declares an entity, 'x'"),
        ('<!DOCTYPE a [<!ENTITY % x SYSTEM "http://127.0.0.1/"> %x;]><a/>', "declares an entity, 'x'"),
        ('<!DOCTYPE a SYSTEM "file:///etc/passwd"><a>&x;</a>', "the entity 'x' is declared nowhere"),
        ("<a>" * 10_000, "nested deeper than max_depth = 64"),
        ("<a>" + "x" * 100_000 + "</a>", "more than max_bytes = 100000"),
        (b'<?xml version="1.0" encoding="bogus"?><a/>', "unknown encoding"),
        ({"a b": 1}, "'a b' can't be the name"),
        ({"a": "\x00"}, "'\\x00' can't be in XML"),
        ({"a": [1, 2]}, "a document has one root"),
        ({"a": {"b": [[1]]}}, "a list inside the list 'b'"),
        ({"a": {"b": b"x"}}, "bytes can't be a text"),
        (5, "must be XML text or a map, got int"),
    ],
)
async def test_xml_says_what_is_wrong(given, text):
    async with drive(Xml, max_bytes=100_000) as node:
        await node.put(given, "<a/>")
        assert await node.sent() == [{"a": ""}]
        assert text in node.errors[0]["text"]


def test_keys_must_differ():
    with pytest.raises(ValidationError, match="are both '_'"):
        Xml.Config(attribute_key="_")
