"""Flow tests: cases in a file beside a flow, run in a runtime of their own, on time that is moved by hand.

`model` is the shape of a test file, `check` its meaning, `match` compares values. `rig` is the runtime, `document`
makes the flow that runs there (stubs, env), `motion` moves its time and knows when it is at rest, `record` keeps what
its nodes send, `trial` is one flow under test, `run` runs a file's cases, `report` tells how they went.
`pytest_plugin` gives the same to Python.
"""
