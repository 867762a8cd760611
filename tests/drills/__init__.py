"""Drills: what the engine promises, shown on real servers and real processes that are killed, cut off and lied to.

    python -m tests.drills              every drill in its long form, as a table (`make drills`)
    python -m tests.drills --short kill the short form of those with `kill` in their name
    pytest tests/drills                 the short form of each, one test a drill

`drill.py` is what a drill is, `runtime.py` a runtime of a drill's own, `record.py` what arrived and what did not; the
other files hold the drills, one kind of trouble each.
"""
