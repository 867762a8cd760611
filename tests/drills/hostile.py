"""Nodes that lie, and outsiders that send rubbish."""

import json
import random
from pathlib import Path

import msgpack

from flowcore.bus import subjects
from flowcore.wires.frames import Ack
from tests.drills.drill import Findings, drill
from tests.drills.flows import flow, line, numbers_file
from tests.drills.record import Record, judge
from tests.drills.runtime import Runtime, until

_ACK = subjects.ack("victim", "read", "out", "step1", "in")
_OFFER = subjects.offer("victim", "read", "out", "step1", "in")
_FORGED_ACK = Ack(inc=1 << 40, n=1, epoch=1 << 40, next=1 << 40, floor=(1 << 40) - 1).pack()
_FORGED_FRAME = msgpack.packb([{"epoch": 1 << 40, "seq": 1, "payload": 666, "topic": "", "meta": {}}])
_OWN_KEY, _OWN_GET = "$KV.state.mallory.forge.a0", "$JS.API.DIRECT.GET.KV_state.$KV.state.mallory.forge.a0"
# What the server must refuse: another's acks, offers, outputs, inputs, state, and what only the host may do.
_DIRECT = [
    (_ACK, "", _FORGED_ACK),
    (_OFFER, "", msgpack.packb({"epoch": 1 << 40, "first": 1, "last": 1, "prev": 0, "flags": 0, "msgs": []})),
    ("flow.victim.read.out.out", "", _FORGED_FRAME),
    ("flow.victim.step1.in.in", "", b'{"payload": 666}'),
    ("$KV.state.victim.read.a0", "", b"\xc0"),
    ("$KV.flows.victim", "", b"{}"),
    ("$JS.API.STREAM.DELETE.KV_state", "", b""),
    ("flowcore.down", "", b"{}"),
]
# What the server does for it: it publishes an answer, content chosen by the node, on a subject that it may not use.
_REPLIES = [
    (get_or_put, subject, content)
    for content in (_FORGED_ACK, _FORGED_FRAME)
    for subject in (_ACK, _OFFER, "flow.victim.read.out.out", "flow.victim.step1.in.in")
    for get_or_put in (_OWN_KEY, _OWN_GET)
]


@drill(
    "a node forges acks, offers, outputs and inputs with its own credentials, directly and by reply subjects",
    short={"messages": 2_000, "times": 10, "rate_hz": 700},
    long={"messages": 20_000, "times": 200, "rate_hz": 1_000},
)
async def forged(folder: Path, messages: int, times: int, rate_hz: float) -> Findings:
    """Refused, and shown on the node that tried; the wires it aimed at carry every number once and in order."""
    found, record = Findings(), Record(folder / "out.jsonl")
    mallory = flow("mallory", {"forge": "drill/forge"}, [])
    async with Runtime(folder) as runtime:
        await runtime.deploy(mallory)
        await runtime.deploy(line("victim", numbers_file(folder, messages), record.path, rate_hz))
        for number in range(1, times + 1):
            await record.until(messages * number // (times + 1))
            await runtime.client.publish("flow.mallory.forge.in.in", [*_DIRECT, *_REPLIES])
        await record.until(messages)

        async def told() -> bool:
            stats = (await runtime.nodes("mallory"))["forge"]["stats"]
            return stats.get("handled", 0) >= times

        await until(told, "all attacks made")
        await until(lambda: sum("refused" in entry for entry in runtime.log()) >= len(_DIRECT), "refusals in the log")
        nodes = {**await runtime.nodes("mallory"), **await runtime.nodes("victim")}
        badge = nodes["forge"]["badge"]
        dropped = sum(nodes[name]["stats"].get(kind, 0) for name in nodes for kind in ("refused", "malformed"))
        log = runtime.log()
    said = "\n".join(entry for entry in log if "refused" in entry)
    refused = [subject for subject, _, _ in _DIRECT if subject.lower() in said]
    found.add(attacks=times * (len(_DIRECT) + len(_REPLIES)), refused_by_the_bus=len(refused), dropped_by_nodes=dropped)
    found.expect(len(refused) == len(_DIRECT), f"not refused: {[s for s, _, _ in _DIRECT if s not in refused]}")
    found.expect("refused" in badge, f"the node shows {badge!r}")
    found.expect(dropped > 0, "no node counted a forged reply")
    found.expect(not any(nodes[name]["restarts"] for name in nodes), "a node died of it")
    judged = judge(record.numbers, range(1, messages + 1))
    judged.into(found)
    found.expect(not judged.twice, "a forgery made the wires send again")
    return found


def _rubbish() -> list[bytes]:
    """Payloads that are no message, each wrong in its own way."""
    chance = random.Random(7)
    return [
        b"",
        b"\xc1",  # a byte that msgpack never uses
        b"{",
        b'{"payload"',
        b"[1, 2, 3]",
        b'{"no": "payload"}',
        b'{"payload": 1, "topic": 5}',
        b"[" * 2_000,  # deeper than Python recurses
        b"\x91" * 100,  # a hundred levels
        msgpack.packb({"payload": msgpack.ExtType(1, b"a forged tensor")}),
        msgpack.packb({"payload": [None] * 30_000}),
        msgpack.packb([{"payload": 1, "meta": []}]),
        b"\xdd\xff\xff\xff\xff",  # an array of four thousand million
        json.dumps({"payload": 1}).encode("utf-16"),
        *(bytes([0xC1]) + chance.randbytes(chance.randrange(1, 60)) for _ in range(6)),
    ]


@drill(
    "malformed payloads on `in` subjects",
    short={"payloads": 2_000},
    long={"payloads": 100_000},
)
async def malformed(folder: Path, payloads: int) -> Findings:
    """All are counted, nothing dies, and a good message afterwards goes through."""
    found, rubbish = Findings(), _rubbish()
    async with Runtime(folder) as runtime:
        document = flow("junk", {"target": "drill/pass", "next": "drill/pass"}, ["target.out > next.in"])
        await runtime.deploy(document)
        before = await runtime.pids("junk")
        bus = await runtime.bus()
        sent = 0

        async def counted() -> bool:
            return (await runtime.nodes("junk"))["target"]["stats"].get("malformed", 0) >= sent

        while sent < payloads:
            for _ in range(min(1_000, payloads - sent)):
                port = "nowhere" if sent % 50 == 0 else "in"
                await bus.publish(f"flow.junk.target.in.{port}", rubbish[sent % len(rubbish)])
                sent += 1
            await bus.flush(60)
            # `in` is at most once: what is sent faster than the node reads, the server may drop.
            if sent % 5_000 == 0 or sent == payloads:
                await until(counted, f"{sent} counted", every_s=0.3)
        async with runtime.client.subscribe("flow.junk.next.out.out") as outputs:
            await bus.publish("flow.junk.target.in.in", b'{"payload": 5}')
            good = (await outputs.next(30)).payload
        await bus.close()
        nodes = await runtime.nodes("junk")
        count = nodes["target"]["stats"]["malformed"]
        found.add(sent=sent, counted=count, log_lines=len(runtime.log()))
        found.expect(count == sent, f"{count} counted of {sent}")
        found.expect(good == 5, f"a good message came through as {good!r}")
        found.expect({name: node["pid"] for name, node in nodes.items()} == before, "a process died")
        found.expect(len(runtime.log()) < 1_000, f"the log has {len(runtime.log())} lines")
    return found
