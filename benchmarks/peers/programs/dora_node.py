"""The nodes of the dora dataflows: `PEERS_ROLE` says which (source, pass, sink, busy).

As dora's guide has it: Arrow structs for small messages, passed on as they came, with their metadata. Frames as its
examples send them (`send_output`, an Arrow array), or written in place into shared memory (`send_output_raw`).
"""

import os
import time

import numpy
import pyarrow as pa
from dora import Node
from kit import FRAME_BYTES, FRAME_SHAPE, TEXT, Orders, Pace, Tally, check_frame, spin

_MESSAGE = pa.struct([("run", pa.int64()), ("n", pa.int64()), ("machine", pa.string()), ("t", pa.int64())])


def source(node: Node) -> None:
    """Send what the bench orders."""
    orders, is_in_place = Orders("source"), os.environ.get("PEERS_FRAMES") == "in place"
    frame = numpy.zeros(FRAME_BYTES, numpy.uint8)
    for order in orders:
        pace, run = Pace(order), order["run"]
        while (wait_s := pace.wait_s()) is not None:
            if wait_s:
                time.sleep(wait_s)
                continue
            number, made_ns = pace.next()
            if not order["frames"]:
                said = {"run": run, "n": number, "machine": TEXT, "t": made_ns}
                node.send_output("out", pa.array([said], type=_MESSAGE))
            elif is_in_place:
                with node.send_output_raw("out", FRAME_BYTES, {"run": run, "n": number, "t": made_ns}) as buffer:
                    numpy.frombuffer(buffer, numpy.uint8)[:] = number & 0xFF
            else:
                frame[:] = number & 0xFF
                node.send_output("out", pa.array(frame), {"run": run, "n": number, "t": made_ns})
        orders.answer({"sent": pace.sent})


def passing(node: Node) -> None:
    """Pass each message on."""
    orders = Orders(os.environ["PEERS_NAME"])  # only to say that it is there
    for event in node:
        if event["type"] == "INPUT":
            node.send_output("out", event["value"], event["metadata"])
        elif event["type"] == "STOP":
            break
    orders.close()


def sink(node: Node) -> None:
    """Count."""
    tally, has_frames = Tally(), bool(os.environ.get("PEERS_FRAMES"))
    for event in node:
        now_ns = time.time_ns()
        if event["type"] == "STOP":
            return
        if event["type"] != "INPUT":
            continue
        if has_frames:
            about = event["metadata"]
            check_frame(event["value"].to_numpy().reshape(FRAME_SHAPE), about["n"])
            tally.take(about["run"], about["t"], time.time_ns())
        else:
            said = event["value"][0].as_py()
            tally.take(said["run"], said["t"], now_ns)


def busy(node: Node) -> None:
    """Keep a core busy when told to."""
    orders = Orders("busy")
    for order in orders:
        orders.answer({})
        spin(order["seconds"])


if __name__ == "__main__":
    {"source": source, "pass": passing, "sink": sink, "busy": busy}[os.environ["PEERS_ROLE"]](Node())
