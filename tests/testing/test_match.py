"""Values against what a case expects: what is equal, and how a difference reads."""

import pytest

from flowcore.flow.problems import Report
from flowcore.testing.match import check_patterns, differences, paired


@pytest.mark.parametrize(
    ("expected", "got"),
    [
        (5, 5.0),
        ({"a": [1, {"b": None}]}, {"a": [1, {"b": None}]}),
        ({"$any": True}, None),
        ({"$type": "number"}, 2.5),
        ({"$about": 20, "within": 0.5}, 20.5),
        ({"$about": 0.3}, 0.1 + 0.2),
        ({"$between": [1, 5]}, 5),
        ({"$regex": "^oven-[0-9]+$"}, "oven-7"),
        ({"x": {"$has": {"state": "raised", "at": {"$above": 0}}}}, {"x": {"state": "raised", "at": 3, "more": 1}}),
        ({"$has": [2, {"a": 1}]}, [1, {"a": 1}, 2]),
        ({"$unordered": [{"$any": True}, 5]}, [5, 6]),
        ({"$length": 2}, "ab"),
        ({"$one_of": ["on", "off"]}, "off"),
        ({"$not": {"$type": "text"}}, 1),
        ({"$bytes": "aGk="}, b"hi"),
        ({"$equals": {"$any": True}}, {"$any": True}),
    ],
)
def test_what_fits(expected, got):
    """Each of these is as expected."""
    assert differences(expected, got) == []


@pytest.mark.parametrize(
    ("expected", "got", "line"),
    [
        (1, True, "payload: expected 1, got true"),
        ("5", 5, 'payload: expected "5", got 5'),
        ({"a": 1}, {"b": 1}, "payload: no 'a', expected 1 (it has: b)"),
        ({"a": {"b": [1, 2]}}, {"a": {"b": [1, 3]}}, "payload.a.b[1]: expected 2, got 3"),
        ([1], [1, 2], "payload: expected 1 entries, got 2: [1, 2]"),
        ({"$about": 20, "within": 0.1}, 21, "payload: expected a number about 20 (within 0.1), got 21"),
        ({"$above": 5}, "9", 'payload: expected a number above 5, got "9"'),
        ({"$type": "number"}, True, "payload: expected number, got true"),
        ({"$regex": "^a"}, "b", "payload: expected a text with '^a', got \"b\""),
        ({"$unordered": [1, 2]}, [2, 2], "payload: no entry 1"),
        ({"$length": 2}, [1], "payload: expected a length of 2, got [1], which has 1"),
        ({"$not": 3}, 3, "payload: expected anything but 3, got 3"),
        ({"$tensor": {"dtype": "uint8"}}, 3, "payload: expected an array, got 3"),
    ],
)
def test_how_a_difference_reads(expected, got, line):
    """Where, what was expected, what is there."""
    assert differences(expected, got)[0] == line


def test_what_more_there_is_counts_unless_has_is_said():
    """`has` is so at any depth."""
    assert differences({"a": {"b": 1}}, {"a": {"b": 1, "c": 2}}) == ["payload.a: has 'c' too: 2"]
    assert differences({"a": {"b": 1}}, {"a": {"b": 1, "c": 2}, "d": 3}, has=True) == []


def test_pairing_finds_a_way_where_there_is_one():
    """What fits all does not take the only one that fits another."""
    assert sorted(paired([[True, True, True], [True, False, False], [True, True, False]])) == [0, 1, 2]
    assert paired([[True], [True]]).count(None) == 1


@pytest.mark.parametrize(
    ("expected", "problem"),
    [
        ({"$regx": "a"}, "/p/$regx: no pattern '$regx'; did you mean '$regex'?"),
        ({"x": {"$regex": "("}}, "/p/x/$regex: no regular expression: missing )"),
        ({"$about": "5"}, "/p/$about: must be a number, is '5'"),
        ({"$above": 5, "$below": 6}, "/p: one pattern at a time: it has $above and $below"),
        ({"$type": "int"}, "/p/$type: must be one of number, text"),
        ([{"$has": {"a": {"$length": -1}}}], "/p/0/$has/a/$length: must be a whole number, is -1"),
        ({"$any": True, "also": 1}, "/p/also: $any stands alone in its map"),
    ],
)
def test_a_pattern_that_is_none_is_told(expected, problem):
    """With its place, and the nearest right one."""
    report = Report()
    check_patterns(expected, "/p", report)
    assert f"{next(iter(report)).pointer}: {next(iter(report)).message}".startswith(problem)
