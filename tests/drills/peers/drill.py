"""How fast each connector is, how soon it is back when its peer was away, and that nothing is lost where that can be.

    python -m tests.drills.peers --write       how fast, then all away for ten minutes; writes docs/connectors.json
    python -m tests.drills.peers --away-s 20   shown, and not written
    python -m tests.drills.peers -k core/zmq -k core/s3   only these

Each connector is driven in this process against its real peer: some seconds of load, then the peer is killed, messages
go on being made, and after a while the peer is started again. `python docs/connectors.py` takes the figures into its
table. The suite runs a short form (`test_peers.py`).
"""

import argparse
import asyncio
import contextlib
import json
import tempfile
import time
from collections.abc import AsyncIterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from flowcore_nodes.iot.modbus_read import ModbusRead
from flowcore_nodes.iot.opcua_read import OpcuaRead

from flowcore.node.testing import drive
from tests.drills.peers.cases import CASES, Case
from tests.drills.peers.peer import Peer

PAGE = Path(__file__).parents[3] / "docs" / "connectors.json"
WHILE_AWAY = 30  # messages that come while the peer is away
LONGEST_S = 60.0


@dataclass
class Away:
    """How it was.

    Attributes:
        away_s: how long the peer was away.
        back_s: from its return until a message was through.
        lost: of those that came before, meanwhile and after; None where there is only a newest.
    """

    away_s: float
    back_s: float
    lost: int | None


@contextlib.asynccontextmanager
async def running(case: Case, folder: Path, every_s: float) -> AsyncIterator[tuple[Peer, Any]]:
    """A peer and its connector, which has found it; what reads by itself does so each `every_s`."""
    folder.mkdir(parents=True)
    peer = await asyncio.to_thread(case.peer, folder)  # some take a while
    config = dict(peer.config)
    if case.node in (ModbusRead, OpcuaRead):
        config["every_s"] = every_s
    try:
        async with asyncio.timeout(LONGEST_S):
            await peer.start()
        extras = {"data_folder": folder / "data"}
        async with drive(case.node, extras=extras, settings=case.settings, **config) as peer.node, peer.beside():
            node = peer.node
            if case.way in ("in", "reads"):
                await node.wait_for(lambda: any(kind == "ok" for _, kind in node.statuses), LONGEST_S)
            else:
                await node.put(0, meta={"number": "0"})
            yield peer, node
    finally:
        for end in (peer.stop, peer.remove):
            with contextlib.suppress(Exception):
                await end()


async def rate(case: Case, folder: Path, load_s: float) -> float:
    """Messages a second through one connector, for some seconds; nothing else runs."""
    async with running(case, folder, 0.0001) as (peer, node):
        count, before, began_s = 0, len(node.messages()), time.monotonic()
        while time.monotonic() - began_s < load_s:
            if case.way in ("out", "last"):
                await node.put(*range(count, count + 100), meta={"number": "load"})
                await peer.caught_up()
            elif case.way == "in":
                await peer.feed(range(count, count + 100))
                await node.wait_for(lambda wanted=before + count + 100: len(node.messages()) >= wanted, LONGEST_S)
            else:
                await asyncio.sleep(0.05)
                continue
            count += 100
        return (count or len(node.messages()) - before) / (time.monotonic() - began_s)


async def away(case: Case, folder: Path, away_s: float) -> Away:
    """The peer goes, and comes back after so long; messages come meanwhile.

    Raises:
        TimeoutError: not all came through within a minute of its return.
    """
    async with running(case, folder, 0.1) as (peer, node):
        if case.way in ("out", "last"):
            await _put(node, range(1, 10))
            async with asyncio.timeout(LONGEST_S):
                while case.way == "out" and not await peer.got() >= set(range(10)):  # noqa: ASYNC110 - it comes later
                    await asyncio.sleep(0.01)
        elif case.way == "in":
            await peer.feed(range(10))
            await node.sent(10)
        else:
            await node.sent(1, port="out")
        await peer.stop()
        return await _come_back(case, peer, node, 10, away_s)


async def _come_back(case: Case, peer: Peer, node: Any, count: int, away_s: float) -> Away:
    meanwhile = range(count, count + WHILE_AWAY)
    wanted = {meanwhile[-1]} if case.way == "last" else set(range(meanwhile.stop))
    tasks = [asyncio.create_task(_put(node, meanwhile))] if case.way in ("out", "last") else []
    await asyncio.sleep(away_s)
    had = len(node.messages("out"))
    async with asyncio.timeout(LONGEST_S):
        await peer.start()
    began_s = time.monotonic()
    if case.way == "in":
        tasks.append(asyncio.create_task(peer.feed(meanwhile)))
    back_s: float | None = None
    got: set[int] = set()
    async with asyncio.timeout(LONGEST_S):
        while back_s is None or (case.way != "reads" and not wanted <= got):
            if case.way in ("in", "reads"):
                is_through = len(node.messages("out")) > had
                got = {int(one.payload) for one in node.messages("out")} if case.way == "in" else set()
            else:
                got = await peer.got()
                is_through = not got.isdisjoint(meanwhile)
            if is_through and back_s is None:
                back_s = time.monotonic() - began_s
            await asyncio.sleep(0.01)
    await asyncio.gather(*tasks)
    return Away(
        away_s, round(back_s, 2), None if case.way in ("reads", "last") or not case.is_kept else len(wanted - got)
    )


async def _put(node: Any, numbers: range) -> None:
    for number in numbers:
        with contextlib.suppress(TimeoutError):  # it waits, and is handled later
            await node.put(number, meta={"number": str(number)})


async def rates(cases: list[Case], load_s: float) -> dict[str, float]:
    """One after the other; one that fails says so, and has none."""
    found = {}
    for case in cases:
        with tempfile.TemporaryDirectory(prefix="flowcore-peers-") as folder:
            try:
                found[case.name] = float(f"{await rate(case, Path(folder) / 'it', load_s):.2g}")
            except Exception as e:
                print(f"{case.name}: FAILED: {e!r}", flush=True)
            else:
                print(f"{case.name}: {found[case.name]:,.0f}/s", flush=True)
    return found


async def all_away(cases: list[Case], away_s: float) -> dict[str, Away | BaseException]:
    """All at the same time."""

    async def one(case: Case, folder: Path) -> Away | BaseException:
        try:
            found: Away | BaseException = await away(case, folder, away_s)
        except Exception as e:
            found = e
        print(f"{case.name}: {found if isinstance(found, Away) else f'FAILED: {found!r}'}", flush=True)
        return found

    with tempfile.TemporaryDirectory(prefix="flowcore-peers-") as folder:
        found = await asyncio.gather(*(one(case, Path(folder) / str(n)) for n, case in enumerate(cases)))
    return dict(zip((case.name for case in cases), found, strict=True))


def main() -> None:
    """The command."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--away-s", type=float, default=600.0, help="0: only how fast they are")
    parser.add_argument("--load-s", type=float, default=3.0, help="0: only how they come back")
    parser.add_argument("-k", action="append", default=[], help="only those with this in their name; may be repeated")
    parser.add_argument("--write", action="store_true", help="write the figures into docs/connectors.json")
    options = parser.parse_args()
    cases = [case for case in CASES if case.needs() and any(part in case.name for part in options.k or [""])]
    made: dict[str, dict[str, Any]] = {case.name: {"peer": case.said} for case in cases}
    if options.load_s:
        for name, rate_hz in asyncio.run(rates(cases, options.load_s)).items():
            made[name]["rate_hz"] = rate_hz
    if options.away_s:
        found = asyncio.run(all_away([case for case in cases if case.can_be_away], options.away_s))
        for name, one in found.items():
            made[name]["away"] = asdict(one) if isinstance(one, Away) else None
    if options.write:
        there = json.loads(PAGE.read_text()) if PAGE.exists() else {}
        merged = there | {name: there.get(name, {}) | one for name, one in made.items()}
        PAGE.write_text(json.dumps(merged, indent=1, sort_keys=True) + "\n")
