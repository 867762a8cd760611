"""link in, out and call, junction, comment, catch, status, complete: what is resolved at deploy."""

from __future__ import annotations

from typing import Any

from flowcore.convert.nodered import typed
from flowcore.convert.nodered.findings import CannotTurn
from flowcore.convert.nodered.node import Given, Turned


def link_in(given: Given) -> Turned:
    """`link in`: link-outs name it, so its own list of them is not needed."""
    given.skip("links")
    return Turned("core/link-in", {"name": given.name} if given.name else {})


def link_out(given: Given) -> Turned:
    """`link out`."""
    if given.text("mode", "link") == "return":
        given.skip("links")
        return Turned("core/link-out", {"mode": "return"}, [])
    return Turned("core/link-out", {"links": _links(given)}, [])


def link_call(given: Given) -> Turned:
    """`link call`."""
    config: dict[str, Any] = {}
    if given.text("linkType", "static") == "dynamic":
        given.skip("links")
        config["mode"] = "dynamic"
    else:
        config["links"] = _links(given)
        if not config["links"]:
            raise CannotTurn("the link-in that it calls is not in the export", "export both together")
    timeout = given.text("timeout", "30")
    config["timeout_s"] = typed.value(timeout or "30", "num")
    config["late"] = "send"  # each answer goes on there
    return Turned("core/link-call", config)


def _links(given: Given) -> list[str]:
    found = []
    for source in given.get("links", []):
        target = given.around.reach(str(source))
        if target is None:
            given.around.tell(
                "setting", given, f"a link to {source}, which is not in the export", "export both together"
            )
        else:
            found.append(target)
    return found


def junction(given: Given) -> Turned:
    """`junction`."""
    return Turned("core/junction")


def comment(given: Given) -> Turned:
    """`comment`: its name is the heading, and what it says lies in `info`."""
    heading, info = given.name, str(given.raw.get("info") or "")
    return Turned("core/comment", {"text": typed.text("\n\n".join(one for one in (heading, info) if one))}, [])


def catch(given: Given) -> Turned:
    """`catch`: what comes is put into the form it has in Node-RED, for the nodes behind it."""
    config = _scope(given)
    if typed.truth(given["uncaught"]):
        config["uncaught"] = True
    rules = [
        {"action": "set", "path": "meta", "value": {"$message": "payload.message.meta"}},
        {"action": "set", "path": "meta.error.message", "value": {"$message": "payload.text"}},
        {"action": "set", "path": "meta.error.name", "value": {"$message": "payload.error"}},
        {"action": "set", "path": "meta.error.source.id", "value": {"$message": "payload.node"}},
        {"action": "set", "path": "topic", "value": {"$message": "payload.message.topic"}},
        {"action": "set", "path": "payload", "value": {"$message": "payload.message.payload"}},
    ]
    return Turned("core/catch", config, then=[("message", "core/change", {"rules": rules})])


def status(given: Given) -> Turned:
    """`status`: text and kind in place of text, fill and shape."""
    rules = [
        {"action": "set", "path": "meta.status.text", "value": {"$message": "payload.text"}},
        {"action": "set", "path": "meta.status.kind", "value": {"$message": "payload.kind"}},
        {"action": "set", "path": "meta.status.source.id", "value": {"$message": "payload.node"}},
    ]
    given.differs("a status has a text and a kind (ok, busy, warn, error, off), no fill and shape")
    return Turned("core/status", _scope(given), then=[("message", "core/change", {"rules": rules})])


def complete(given: Given) -> Turned:
    """`complete`."""
    return Turned("core/complete", _scope(given))


def _scope(given: Given) -> dict[str, Any]:
    scope = given["scope"]
    if scope == "group":
        return {"scope": "group"}
    if not isinstance(scope, list):
        return {}
    if given.type == "complete" and not scope:
        raise CannotTurn("it listens to no node", "choose its nodes")
    return {"scope": [id for one in scope if (id := given.around.id_of(str(one)))]}
