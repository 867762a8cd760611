"""Detection in two parts, each a runtime of its own, over Redis and over ZeroMQ: the part that decides is away."""

import asyncio
import email
import json
import shutil
import subprocess
from email import policy
from pathlib import Path
from typing import Any

from aiosmtpd.controller import Controller
from flowcore_nodes.vision.from_message import FromMessage
from flowcore_nodes.vision.line import Line
from flowcore_nodes.vision.zone import Zone

from flowcore.bus.envelope import unpack
from flowcore.node.testing import drive
from tests.drills.drill import Findings, Skipped, drill
from tests.drills.runtime import Runtime, until
from tests.ports import free_port

FLOWS = Path(__file__).parents[2] / "flows"
WAYS = {"redis": "line-1", "zeromq": "line-2"}


def example(name: str, **env: Any) -> dict[str, Any]:
    """An example flow, with other values in its env."""
    document = json.loads((FLOWS / f"{name}.json").read_text())
    document["env"] |= env
    return document


class Mailbox:
    """A mail server that keeps what it gets."""

    def __init__(self) -> None:
        self.port, self.got = free_port(), list[Any]()
        self._controller = Controller(self, "127.0.0.1", self.port)
        self._controller.start()

    async def handle_DATA(self, server: Any, session: Any, envelope: Any) -> str:
        self.got.append((envelope.rcpt_tos[0], email.message_from_bytes(envelope.content, policy=policy.default)))
        return "250 taken"

    def to(self, name: str) -> list[Any]:
        """Its messages, each once: after a crash one may come again, with the same Message-ID."""
        return list({one["Message-ID"]: one for to, one in list(self.got) if to.startswith(name)}.values())

    def stop(self) -> None:
        self._controller.stop()


@drill(
    "the deciding part of a two-part detection killed, and away, while two edges go on, by Redis and by ZeroMQ",
    short={"down_s": 3.0, "fps": 10},
    long={"down_s": 60.0, "fps": 25},
)
async def detection_away(folder: Path, down_s: float, fps: int) -> Findings:
    """The edges go on; the processor catches up; every crossing is counted, none twice, and each stay is told."""
    program = shutil.which("redis-server", path="/usr/bin:/usr/sbin:/usr/local/bin:/usr/local/sbin")
    if program is None:
        raise Skipped("redis-server is not installed: sudo apt-get install redis-server")
    found, mailbox = Findings(), Mailbox()
    redis_port, socket_port = free_port(), free_port()
    quiet = subprocess.DEVNULL
    arguments = ["--port", str(redis_port), "--bind", "127.0.0.1", "--save", "", "--dir", str(folder)]
    redis = await asyncio.create_subprocess_exec(program, *arguments, stdout=quiet, stderr=quiet)
    sent: dict[str, list[dict]] = {way: [] for way in WAYS}
    try:
        async with Runtime(folder / "processor") as processor, Runtime(folder / "edges") as edges:
            address, out = f"tcp://127.0.0.1:{socket_port}", folder / "out"
            await processor.deploy(
                example("detect-dispatch", REDIS_PORT=redis_port, LISTEN=address, FOLDER=str(out),
                        MAIL_PORT=mailbox.port, DIGEST_S=1)
            )  # fmt: skip
            bus = await edges.bus()
            for way in WAYS:
                await bus.subscribe(f"flow.detect-edge-{way}.message.out.out", cb=_keeper(sent[way]))
            await bus.flush()
            for seed, (way, device) in enumerate(WAYS.items(), 5):
                belt = f"sim://conveyor?seed={seed}&fps={fps}&width=320&height=240&parts_per_s=1&crossing_s=3"
                where = {"PROCESSOR": address} if way == "zeromq" else {"REDIS_PORT": redis_port}
                await edges.deploy(example(f"detect-edge-{way}", CAMERA=belt, DEVICE=device, **where))
            crossings = out / "crossings.jsonl"
            await until(lambda: {one["source"] for one in _lines(crossings)} == {f"{d}/belt" for d in WAYS.values()},
                        "a crossing of each edge")  # fmt: skip
            await processor.kill_everything()
            before = {way: len(messages) for way, messages in sent.items()}
            await asyncio.sleep(down_s)
            meanwhile = {way: len(messages) - before[way] for way, messages in sent.items()}
            pids = {way: await edges.pids(f"detect-edge-{way}") for way in WAYS}
            await processor.up()
            loop = asyncio.get_running_loop()
            began_s = loop.time()
            await asyncio.sleep(1)  # it catches up while more comes
            for way in WAYS:
                await edges.client.call("pause", flow=f"detect-edge-{way}", node="camera")
            await _until_still(sent)
            wanted_crossings, wanted_stays = await _judged(sent)
            await until(lambda: len(_once(_lines(crossings))) >= len(wanted_crossings), "all crossings")
            caught_up_s = loop.time() - began_s
            await until(lambda: len(_stays(mailbox)) >= len(wanted_stays), "all stays in digests")
            came = (await processor.nodes("detect-dispatch"))["read"]["badge"]
            after = {way: await edges.pids(f"detect-edge-{way}") for way in WAYS}
            await bus.close()
    finally:
        redis.kill()
        await redis.wait()
        mailbox.stop()
    counted = _once(_lines(crossings))
    found.add(down_s=down_s, messages_meanwhile=sum(meanwhile.values()), crossings=len(counted),
              caught_up_after_s=caught_up_s, stays=len(wanted_stays), digests=len(mailbox.to("office")))  # fmt: skip
    for way, messages in meanwhile.items():
        found.expect(messages >= 0.6 * fps * down_s, f"{way}: the edge sent only {messages} messages meanwhile")
    found.expect(not came or came.endswith(" 0 are missing"), f"of the messages {came}")
    found.expect(pids == after, "edges were restarted")
    of_line = sorted((one["source"], one["number"], one["track"], one["direction"]) for one in counted)
    found.expect(of_line == sorted(wanted_crossings), f"{len(of_line)} crossings, wanted {len(wanted_crossings)}")
    for device in WAYS.values():
        mine = [one for one in counted if one["source"] == f"{device}/belt"]
        total = max(one["counts"]["in"] + one["counts"]["out"] for one in mine)
        found.expect(total == len(mine), f"{device}: counts say {total}, there are {len(mine)} crossings")
    found.expect(_stays(mailbox) == wanted_stays, f"stays in digests: {len(_stays(mailbox))} of {len(wanted_stays)}")
    photos = sum(len(list(one.iter_attachments())) for one in mailbox.to("office"))
    found.expect(photos >= 1, "no photo in a digest")
    found.expect(
        len(mailbox.to("shift")) == 2, f"{len(mailbox.to('shift'))} e-mails at once, one for each camera wanted"
    )
    found.add(photos=photos, at_once=len(mailbox.to("shift")))
    return found


async def _judged(sent: dict[str, list[dict]]) -> tuple[list[tuple], set[tuple]]:
    """Crossings and stays, worked out once more of what the edges sent."""
    nodes = {node["id"]: node.get("config", {}) for node in example("detect-dispatch")["nodes"]}
    async with (
        drive(FromMessage, frame=False) as read,
        drive(Line, **nodes["line"]) as line,
        drive(Zone, **nodes["zone"] | {"frame": False}) as zone,
    ):
        for messages in sent.values():
            await read.put(*json.loads(json.dumps(messages)))
        seen = await read.sent()
        await line.put(*seen)
        await zone.put(*seen)
        crossed, happened = await line.sent(port="event"), await zone.sent(port="event")
    stays = {(one["source"], one["number"], one["track"]) for one in happened if one["event"] == "loiter"}
    return [(one["source"], one["number"], one["track"], one["direction"]) for one in crossed], stays


async def _until_still(sent: dict[str, list[dict]]) -> None:
    """What the edges had under way when their cameras were paused is there, too."""
    before = -1
    while (now := sum(map(len, sent.values()))) != before:
        before = now
        await asyncio.sleep(1)


def _stays(mailbox: Mailbox) -> set[tuple]:
    found = set()
    for one in mailbox.to("office"):
        for line in one.get_body(("plain",)).get_content().splitlines():
            if "{" in line:
                event = json.loads(line[line.index("{") :])
                found.add((event["source"], event["number"], event["track"]))
    return found


def _keeper(messages: list[dict]) -> Any:
    async def keep(message: Any) -> None:
        messages.extend(one["payload"] for one in unpack(message.data))

    return keep


def _lines(path: Path) -> list[dict]:
    text = path.read_text() if path.exists() else ""
    return [json.loads(line) for line in text.splitlines(keepends=True) if line.endswith("\n")]


def _once(lines: list[dict]) -> list[dict]:
    """Lines that are the same to the last digit once: around a kill of its writer a file has some of them twice."""
    return [json.loads(line) for line in dict.fromkeys(map(json.dumps, lines))]
