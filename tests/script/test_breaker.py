"""The breaker's states."""

from flowcore.script.breaker import Breaker


def test_three_kills_within_a_minute_open_it():
    """Two do not, and neither do three that are far apart."""
    breaker = Breaker()
    for now in (0.0, 30.0, 61.0):
        breaker.killed(now, "why")
        assert breaker.open_for(now) == 0
    breaker.killed(80.0, "why not")
    assert breaker.open_for(80.0) == 30.0
    assert breaker.reason == "why not"


def test_half_open_closes_with_a_good_message_and_opens_with_a_bad_one():
    """And afterwards it takes three kills again."""
    breaker = Breaker()
    for now in (0.0, 1.0, 2.0):
        breaker.killed(now, "x")
    assert breaker.open_for(31.9) > 0
    assert breaker.open_for(32.0) == 0
    assert breaker.half_open
    breaker.killed(33.0, "again")
    assert breaker.open_for(33.0) == 30.0
    breaker.handled()
    breaker.killed(70.0, "x")
    assert breaker.open_for(70.0) == 0
