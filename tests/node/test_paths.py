"""Paths into messages: reading, setting and deleting, without changing what came in."""

import pytest

from flowcore.node.message import Message
from flowcore.node.paths import BadPath, MessagePath, PathError, delete_in, get_in, parse_path, set_in


def test_a_path_has_names_indexes_and_quoted_keys():
    assert parse_path('payload.a.b[0].c["flow rate"][-1]') == ("payload", "a", "b", 0, "c", "flow rate", -1)
    assert parse_path(r'["a\"b"]') == ('a"b',)


@pytest.mark.parametrize("text", ["", "a..b", ".a", "a.", "a[b]", "a[0", 'a["x]', "a[0]b"])
def test_what_is_no_path_is_refused(text):
    with pytest.raises(BadPath):
        parse_path(text)


def test_a_bare_name_is_looked_up_in_the_payload():
    message = Message({"temp_c": 20.5, "topic": "inner"}, "plant/1", {"parts": {"id": "x"}})
    assert MessagePath("temp_c").get(message) == 20.5
    assert MessagePath("payload.topic").get(message) == "inner"
    assert MessagePath("topic").get(message) == "plant/1"
    assert MessagePath("meta.parts.id").get(message) == "x"
    assert MessagePath("").get(message) is message.payload


def test_an_error_says_what_is_there_instead():
    with pytest.raises(PathError, match=r"nothing at 'a\.c': a has b, d"):
        get_in({"a": {"b": 1, "d": 2}}, ("a", "c"))
    with pytest.raises(PathError, match=r"a is a list of 2"):
        get_in({"a": [1, 2]}, ("a", 5))
    with pytest.raises(PathError, match="a is a text"):
        get_in({"a": "text"}, ("a", 0))


def test_setting_copies_the_way_and_leaves_the_rest():
    before = {"a": {"b": [{"c": 1}]}, "other": {"kept": True}}
    after = set_in(before, ("a", "b", 0, "c"), 2)
    assert after == {"a": {"b": [{"c": 2}]}, "other": {"kept": True}}
    assert before["a"]["b"][0]["c"] == 1
    assert after["other"] is before["other"]


def test_setting_makes_what_is_missing():
    assert set_in(None, ("a", 0, "b"), 1) == {"a": [{"b": 1}]}
    assert set_in([1], (1,), 2) == [1, 2]
    with pytest.raises(PathError, match="out of range"):
        set_in([1], (5,), 2)
    with pytest.raises(PathError, match=r"can't set \.b in a number"):
        set_in({"a": 1}, ("a", "b"), 2)


def test_deleting_closes_the_gap_and_takes_nothing_for_an_answer():
    assert delete_in({"a": [1, 2, 3]}, ("a", 1)) == {"a": [1, 3]}
    assert delete_in({"a": 1}, ("b", "c")) == {"a": 1}


def test_only_the_users_parts_can_be_set():
    with pytest.raises(BadPath, match="given by the engine"):
        MessagePath("id").check_writable()
    with pytest.raises(BadPath, match="no parts"):
        MessagePath("topic.x").check_writable()
    with pytest.raises(PathError, match="topic is a text"):
        MessagePath("topic").set(Message(1), 5)


def test_nothing_empties_topic_and_meta():
    """An error that came without a message has neither; what is set from it is empty."""
    message = Message(1, "t", {"a": 1})
    MessagePath("topic").set(message, None)
    MessagePath("meta").set(message, None)
    assert (message.topic, message.meta) == ("", {})
