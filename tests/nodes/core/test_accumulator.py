"""Accumulators: merged or one by one, the result is the same, and it is right."""

import math
import statistics

import pytest
from flowcore_nodes.core.accumulator import EMPTY, FUNCTIONS, add, ignore, merge
from hypothesis import given
from hypothesis import strategies as st

NUMBERS = st.lists(st.floats(-1e6, 1e6) | st.integers(-1000, 1000), min_size=1, max_size=30)


def gathered(values, began_s=0.0):
    kept = EMPTY
    for n, value in enumerate(values):
        kept = add(kept, value, began_s + n, is_number=True, with_values=True)
    return kept


@given(st.lists(NUMBERS, min_size=1, max_size=6))
def test_merging_panes_is_the_same_as_adding_all(panes):
    together = [value for pane in panes for value in pane]
    merged = merge([gathered(pane) for pane in panes])
    result = {name: function(merged) for name, function in FUNCTIONS.items()}
    assert result["count"] == len(together)
    assert (result["min"], result["max"]) == (min(together), max(together))
    assert (result["first"], result["last"]) == (together[0], together[-1])
    assert result["median"] == statistics.median(together)
    assert result["sum"] == pytest.approx(math.fsum(together), rel=1e-12, abs=1e-9)
    assert result["avg"] == pytest.approx(statistics.fmean(together), rel=1e-9, abs=1e-9)
    if len(together) > 1:
        assert result["stddev"] == pytest.approx(statistics.stdev(together), rel=1e-6, abs=1e-6)


def test_nothing_is_changed_in_place():
    before = gathered([1, 2])
    copy = list(before)
    add(before, 3, 9.0, is_number=True, with_values=True)
    ignore(before)
    merge([before, gathered([4])])
    assert before == copy and EMPTY[0] == 0


def test_what_is_ignored_is_counted_across_empty_panes():
    assert merge([ignore(EMPTY), gathered([1]), ignore(ignore(EMPTY))])[11] == 3
