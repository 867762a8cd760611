"""`make parity`: every case through Node-RED 5 and through ours; records what Node-RED gives, prints the table.

Ends with 1 when a case differs without a reason, or when Node-RED gives something else than was recorded and `--check`
was given.
"""

import asyncio
import sys
from argparse import ArgumentParser
from importlib import import_module
from pathlib import Path
from tempfile import TemporaryDirectory

from benchmarks.peers.install import CACHE, Installed, NotInstalled, node_red
from flowcore.runtime.host import Host
from flowcore.runtime.options import HostOptions
from flowcore.runtime.typelist import read
from flowcore.runtime.zygote import ScriptZygote
from tests.parity import cases, recorded, table, theirs
from tests.parity.cases import Case
from tests.parity.ours import Deployed, Driven
from tests.parity.outcome import Outcome, normal

_TIMES = 4  # that a doubtful case is asked again


def main() -> int:
    """Run it; the exit status."""
    parser = ArgumentParser(prog="python -m tests.parity", description=__doc__)
    parser.add_argument("--check", action="store_true", help="write nothing; fail when a recording is another")
    arguments = parser.parse_args()
    all_cases = cases.read()
    before = recorded.load()
    try:
        version, outcomes = _asked(all_cases, before, node_red(CACHE, print))
    except (NotInstalled, NotTheSameTwice) as error:
        print(f"Node-RED can't be asked here: {error}", file=sys.stderr)
        return 1
    new = [case for case in all_cases if _entry(case, outcomes) != before.get((case.node, case.name))]
    print(f"Node-RED {version}: {len(all_cases)} cases, {len(new)} not as recorded")
    for case in new:
        print(f"  {case}")
    if not arguments.check:
        recorded.save(all_cases, outcomes, version)
        table.PAGE.write_text(table.filled(table.PAGE.read_text(encoding="utf-8"), all_cases), encoding="utf-8")
    wrong = asyncio.run(_compare(all_cases, outcomes))
    print(table.text(all_cases))
    for line in wrong:
        print(line, file=sys.stderr)
    return int(bool(wrong) or (arguments.check and bool(new)))


class NotTheSameTwice(RuntimeError):
    """Node-RED answers a case with another outcome each time: its waits of some 100 ms ask for a quieter machine."""


def _asked(
    all_cases: list[Case], before: dict[tuple[str, str], dict], where: Installed
) -> tuple[str, dict[str, Outcome]]:
    """Node-RED's version and outcomes; what is not as recorded counts when it is given twice in a row."""
    version, outcomes = theirs.run(all_cases, where)
    doubtful = [case for case in all_cases if _entry(case, outcomes) != before.get((case.node, case.name))]
    for _ in range(_TIMES):
        if not doubtful:
            return version, outcomes
        _, again = theirs.run(doubtful, where)
        unsure = [case for case in doubtful if normal(again[case.id]) != normal(outcomes[case.id])]
        outcomes |= again
        doubtful = [case for case in unsure if _entry(case, outcomes) != before.get((case.node, case.name))]
    raise NotTheSameTwice(", ".join(map(str, doubtful)))


def _entry(case: Case, outcomes: dict[str, Outcome]) -> dict:
    return {"of": case.fingerprint, "outcome": normal(outcomes[case.id])}


async def _compare(all_cases: list[Case], outcomes: dict[str, Outcome]) -> list[str]:
    """What differs without a reason."""
    types = read().types
    ships = {name: info for name, info in types.items() if info.distribution == "flowcore"}
    classes = {name: getattr(import_module(info.module), info.qualname) for name, info in ships.items()}
    wrong = []
    with TemporaryDirectory(prefix="flowcore-") as folder:
        zygote = ScriptZygote(Path(folder))
        zygote.start()
        await zygote.listening.wait()
        driven = Driven(types, classes, zygote.path)
        host = Host(HostOptions(folder=Path(folder) / "data", nats_port=0, mqtt_port=0))
        await host.start()
        got = await Deployed(host, types).run([case for case in all_cases if not driven.takes(case)])
        await host.stop()
        for case in all_cases:
            ours = normal(got[case.id] if case.id in got else await driven.run(case))
            if (ours == normal(outcomes[case.id])) == bool(case.differs):
                wrong.append(f"{case}\n  theirs {normal(outcomes[case.id])}\n  ours   {ours}")
        await zygote.stop()
    return wrong


if __name__ == "__main__":
    sys.exit(main())
