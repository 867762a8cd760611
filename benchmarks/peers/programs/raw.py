"""Raw nats-py, one process a hop: `raw.py ROLE SUBJECT_IN SUBJECT_OUT`, roles source, pass, sink, busy.

As fast as nats-py goes: uvloop, callbacks, no acks, no flush for each message. What a hop does is what a node does:
decode, then encode and publish.
"""

import asyncio
import os
import struct
import sys
import time
from typing import Any

import msgpack
import nats
import numpy
import uvloop
from kit import FRAME_BYTES, FRAME_SHAPE, TEXT, Orders, Pace, Tally, check_frame, spin

_A_TURN = 64  # messages published before the loop may turn; nats-py's socket is written when it does
_TAIL = struct.Struct("<qqq")  # behind a frame: its run, its number, when it was made
_PENDING = {"pending_msgs_limit": 1 << 19, "pending_bytes_limit": 1 << 28}


async def main(role: str, taken: str, given: str) -> None:
    """Connect and work until the bench goes."""
    client = await nats.connect(os.environ["PEERS_NATS"], error_cb=_ignore, max_reconnect_attempts=-1)
    if role == "source":
        await _source(client, given)
        return
    tally = Tally() if role == "sink" else None

    async def take(message: Any) -> None:
        now_ns = time.time_ns()
        if tally is None:
            await client.publish(given, msgpack.packb(msgpack.unpackb(message.data)))
            return
        said = msgpack.unpackb(message.data)
        tally.take(said["run"], said["t"], now_ns)

    async def take_frame(message: Any) -> None:
        frame = numpy.frombuffer(message.data, numpy.uint8, FRAME_BYTES).reshape(FRAME_SHAPE)
        run, number, made_ns = _TAIL.unpack_from(message.data, FRAME_BYTES)
        check_frame(frame, number)
        assert tally is not None
        tally.take(run, made_ns, time.time_ns())

    if role == "busy":
        orders = Orders("busy")
        await client.subscribe(taken, cb=_spin)
        await client.flush()
        while (order := await asyncio.to_thread(orders.next)) is not None:
            await client.publish(taken, msgpack.packb(order["seconds"]))
            await client.flush()
            orders.answer({})
        return
    await client.subscribe(taken, cb=take_frame if os.environ.get("PEERS_FRAMES") else take, **_PENDING)
    await client.flush()
    if tally is None:
        await asyncio.to_thread(Orders(os.environ["PEERS_NAME"]).next)
    else:
        await asyncio.Event().wait()


async def _source(client: Any, given: str) -> None:
    orders, frame = Orders("source"), numpy.zeros(FRAME_SHAPE, numpy.uint8)
    while (order := await asyncio.to_thread(orders.next)) is not None:
        pace, run = Pace(order), order["run"]
        while (wait_s := pace.wait_s()) is not None:
            if wait_s:
                await asyncio.sleep(wait_s)
                continue
            number, made_ns = pace.next()
            if order["frames"]:
                frame[:] = number & 0xFF
                await client.publish(given, frame.tobytes() + _TAIL.pack(run, number, made_ns))
                await client.flush()
            else:
                await client.publish(given, msgpack.packb({"run": run, "n": number, "machine": TEXT, "t": made_ns}))
                if order["rate_hz"] or number % _A_TURN == 0:
                    await asyncio.sleep(0)
        await client.flush(timeout=30)
        orders.answer({"sent": pace.sent})


async def _spin(message: Any) -> None:
    spin(msgpack.unpackb(message.data))


async def _ignore(error: Exception) -> None:
    """What is lost is counted by the sink."""


if __name__ == "__main__":
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(main(*sys.argv[1:]))
