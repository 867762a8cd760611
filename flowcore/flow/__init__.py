"""The flow document: model, schema, check, resolve, diff of two revisions. No sockets, no clock, no processes.

Nothing is imported here: a node's process needs the port types alone, and not the model with its validators, which
takes a quarter of a second.
"""
