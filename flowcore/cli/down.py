"""`flowcore down`: end the runtime in order."""

import time
from dataclasses import asdict

from flowcore.cli.options import DATA, Data, Json


def down(data: Data = DATA, json: Json = False) -> None:
    """End the runtime: sources stop, wires drain, then every process ends."""
    from flowcore.cli import link, out
    from flowcore.cli.summary import not_drained
    from flowcore.client.address import read_run_file
    from flowcore.runtime.folder import read_stopped

    with link.explained(data):
        run = read_run_file(data)
    pid, host = int(run.get("pid", 0)), str(run.get("host") or "")
    began = time.monotonic()
    answer = link.ask(data, f"host.{host}.down" if host else "down")
    while pid and _lives(pid):
        if time.monotonic() - began > 60:
            raise out.Failed(f"process {pid} still drains", f"End it at once: kill -INT {pid}", pid=pid)
        time.sleep(0.05)
    took_s = round(time.monotonic() - began, 3)
    undrained = read_stopped(data, pid)
    lines = [f"the runtime on {data.resolve()} has ended ({took_s:.1f} s)", *map(not_drained, undrained or ())]
    if undrained is None:
        lines[0] += ", but not in order"
    members = answer.get("members") or []
    if members:
        lines.append(f"on {', '.join(members)} nodes go on, and wait for this host")
    out.result(
        "\n".join(lines),
        json,
        host=host,
        members=members,
        pid=pid,
        took_s=took_s,
        in_order=undrained is not None,
        undrained=[asdict(wire) for wire in undrained or ()],
    )


def _lives(pid: int) -> bool:
    import psutil

    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False
