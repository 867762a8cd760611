"""Frames between a script's worker and its client: a length of four bytes, then one msgpack array.

Both ends use this; it knows sizes and shapes, never what a script does. The client does not trust the worker: what
it sends is measured before anything is built of it, and looked through before anything is passed on.

client to worker    [SETUP, {script, outputs, env, id, name, deadline_s, options}]   once, first: lock, compile
                    [BEGIN, context]                              once: define the script, run its `on_start`
                    [CALL, base, [[payload, topic, meta], ...]]   base: number of the first message, as on the page;
                                                                  nil for a message: run the timers that are due
                    [REPLY, error | nil, value]                   to a REQUEST
                    [STOP]                                        run `on_stop`, answer READY, end
worker to client    [READY, result]                               to SETUP (result nil), BEGIN and STOP
                    [REFUSED, error, notes]                       it does not compile, or `on_start` failed
                    [RESULTS, base, [result, ...]]                one or more frames for a CALL, in order
                    [REQUEST, scope, op, key, value]              flow or global context; the worker waits for REPLY
                    [WHERE, line, traceback, notes]               asked for by SIGUSR1, just before the kill
result              nil: nothing sent; or [outputs, changes, notes, error], or besides [..., seconds to a timer | nil]
outputs, changes    [[port, payload, topic, meta], ...]; {key: [value], or [] when taken away}
notes, error        [[kind, text, extra], ...], extra of an error: true, or the message it is about; nil or
                    [type, text, line, traceback]
"""

import struct
from typing import Any

HEAD = struct.Struct(">I")
SETUP, BEGIN, CALL, REPLY, STOP = 1, 2, 3, 4, 5
READY, RESULTS, REQUEST, WHERE, REFUSED = 11, 12, 13, 14, 15

MAX_REQUEST = 16 * 1024 * 1024  # bytes of one frame to the worker (a set-up carries the node's whole state)
MAX_MESSAGE = MAX_REQUEST - 64 * 1024  # bytes of one message for a script
MAX_CALL = 512 * 1024  # bytes of one CALL; larger batches are split
MAX_OUTPUT = 250 * 1024  # bytes of one thing sent: an envelope on the bus holds 256 KiB
MAX_RESULT = 512 * 1024  # bytes of all one message makes
MAX_REPLY = 1024 * 1024  # bytes of one frame from the worker
FLUSH_BYTES = 256 * 1024  # the worker sends what it has when it is this much
MAX_OUTPUTS = 1000  # things one message may send
MAX_DEPTH = 32  # levels of maps and lists in a result
MAX_CONTAINERS = 20_000  # maps and lists in one result: each is one byte here and 72 in memory
MAX_LOG_LINES = 200  # lines kept of what one message prints and logs
MAX_LOG_CHARS = 16 * 1024
PAGE_BYTES = 4096  # shared by worker and client: u64 number of the message in work (counted from 1)


class TooMuch(ValueError):
    """A result beyond the limits: too deep, or too many parts."""


def check_result(value: Any) -> None:
    """Raise TooMuch when `value` nests deeper than `MAX_DEPTH` or has more than `MAX_CONTAINERS` maps and lists."""
    kind = type(value)
    if kind is not dict and kind is not list:
        return
    for child in value.values() if kind is dict else value:
        if type(child) is dict or type(child) is list:
            break
    else:
        return  # flat, as most are
    left = MAX_CONTAINERS
    level = [value]
    for _ in range(MAX_DEPTH):
        inner: list[Any] = []
        for parent in level:
            for child in parent.values() if type(parent) is dict else parent:
                kind = type(child)
                if kind is dict or kind is list:
                    inner.append(child)
        if not inner:
            return
        left -= len(inner)
        if left < 0:
            raise TooMuch(f"more than {MAX_CONTAINERS} maps and lists in one message")
        level = inner
    raise TooMuch(f"nested deeper than {MAX_DEPTH} levels")
