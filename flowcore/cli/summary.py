"""What a deploy did, and what an end left undone, in words."""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from flowcore.runtime.results import Undrained

CHANGES = ("moved", "started", "restarted", "reconfigured", "rewired", "stopped")
_NAMED = 8  # more node ids than this are counted, not named


def summary(done: dict[str, Any]) -> str:
    """The lines that tell people what a deploy did to one flow."""
    flow, revision = done["flow"], done["revision"]
    if done.get("removed"):
        return f"{flow}: removed, {_count(len(done['stopped']), 'node')} stopped"
    parts = [f"{kind} {_nodes(done[kind])}" for kind in CHANGES if done[kind]]
    if done["wires_added"] or done["wires_closed"]:
        parts.append(f"wires: {done['wires_added']} added, {done['wires_closed']} closed")
    kept = f"{len(done['kept'])} kept"
    restored = f" (what {done['restored']} was)" if "restored" in done else ""
    what = "; ".join([*parts, kept]) if parts else f"nothing to change, {kept}"
    lines = [f"{flow}: revision {revision}{restored}: {what} ({_took(done['took_s'])})"]
    lines += [f"  note: {text}" for text in done["notes"]]
    lines += [f"  {node}: still starting ({_took(seconds)})" for node, seconds in done["starting"].items()]
    lines += [f"  failed: {node}: {why}" for node, why in done["failed"].items()]
    lines += [f"  {text}" for text in done["problems"]]
    return "\n".join(lines)


def not_drained(wire: "Undrained") -> str:
    """The line about a wire that still owed something at the end."""
    return f"not drained: {wire.flow} {wire.wire}: {wire.unacked} un-acked, handed over to the next start"


def _nodes(names: list[str]) -> str:
    if len(names) <= _NAMED:
        return ", ".join(names)
    return f"{', '.join(names[:_NAMED])} and {len(names) - _NAMED} more"


def _count(number: int, what: str) -> str:
    return f"{number} {what}" if number == 1 else f"{number} {what}s"


def _took(seconds: float) -> str:
    return f"{seconds * 1000:.0f} ms" if seconds < 1 else f"{seconds:.1f} s"
