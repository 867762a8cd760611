"""Who may say and hear what on the bus: one user a process, allowed only what its wires need.

Pure: builds the lists; `flowcore.bus.server` hands them to nats-server, which checks each publish and subscription. The
identity of a frame is the subject it came on, so these lists are what keeps one node from speaking for another.

What they cannot stop: a request's reply subject. A user with `DIRECT.GET` on its own key can have the *server* publish
that key's bytes on any subject (so can a PubAck). Such a frame has headers or a reply, and receivers drop those
(`docs/wires.md`); nothing here depends on it not happening.
"""

import re
import secrets
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from flowcore.bus import subjects
from flowcore.bus.wire_ends import wire_ends, wire_id

INBOX = "_INBOX"  # the root of outsiders' reply subjects: nodes may answer there
EVENTS = ("status", "log", "error", "debug", "stats")
_USER = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.:#-]{0,200}")
_SUBJECT_TOKEN = re.compile(r"[^\s.*>\"\\\x00-\x1f]+")


class BadSubject(ValueError):
    """A subject that nats-server would refuse, with the reason."""


@dataclass(frozen=True)
class BusUser:
    """A user of the bus and its rights.

    Attributes:
        name: unique on the server.
        password: plain text, or a bcrypt hash (`$2b$..`): the server takes both.
        publish, subscribe: the subjects allowed, with wildcards; nothing else is. Ignored when `full`.
        full: may do everything in the account, system account excepted.
        inbox: prefix of the reply subjects it may subscribe to (`inbox_prefix` of nats-py).
        kinds: connection types allowed (`STANDARD`, `WEBSOCKET`, `MQTT`, `LEAFNODE`); empty: all.
    """

    name: str
    password: str = field(repr=False)
    publish: tuple[str, ...] = ()
    subscribe: tuple[str, ...] = ()
    full: bool = False
    inbox: str = INBOX
    kinds: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if not _USER.fullmatch(self.name):
            raise ValueError(f"user name {self.name!r}: only letters, digits and . _ : # - are allowed")


def new_password() -> str:
    """192 random bits, safe in a URL and in a configuration file."""
    return secrets.token_urlsafe(24)


def check_subject(subject: str) -> str:
    """Return `subject` when it can stand in an allow-list.

    Raises:
        BadSubject: empty tokens, blanks, quotes, `>` before the end, or a wildcard that is part of a token.
    """
    tokens = subject.split(".")
    for i, token in enumerate(tokens):
        if token == "*" or (token == ">" and i == len(tokens) - 1):
            continue
        if not _SUBJECT_TOKEN.fullmatch(token):
            what = f"token {token!r} is not allowed" if token else "has an empty token"
            raise BadSubject(f"subject {subject!r}: {what} (dots separate tokens, `*` is one, `>` the rest)")
    return subject


def full_user(name: str) -> BusUser:
    """A user with all rights, for the host and the commands: new password each time."""
    return BusUser(name, new_password(), full=True, inbox=f"{INBOX}_{name}")


def inbox_prefix(flow: str, process: str) -> str:
    """The reply subjects of one process: no other node may subscribe to them, nor publish on them."""
    return f"{INBOX}_{flow}.{process}"


def outsider_inbox(name: str) -> str:
    """The reply subjects of one outsider; another one may not read them, so each has to set this prefix."""
    return f"{INBOX}.{name}"


def node_user(
    flow: str,
    process: str,
    *,
    wires_in: Sequence[Mapping[str, Any]] = (),
    wires_out: Sequence[Mapping[str, Any]] = (),
    streams: Mapping[str, Mapping[str, str]] | None = None,
    context: bool = False,
    publish: Iterable[str] = (),
    subscribe: Iterable[str] = (),
    password: str | None = None,
) -> BusUser:
    """The user of one node process.

    Args:
        process: node id, or `<node>#<k>` for replica k.
        wires_in, wires_out: `WireSpec.asdict()` maps.
        streams: wire id -> `{"stream", "consumer", "subject"}` of the durable ones.
        context: the node uses the flow and global context.
        publish, subscribe: subjects the node's config names (nats in, nats out), beside its own.
        password: keep this one (a rewire must not change it); None makes a new one.
    """
    node, _, replica = process.partition("#")
    streams = streams or {}
    says = [subjects.out(flow, node, ">"), *(subjects.event(flow, node, kind) for kind in EVENTS)]
    says += [subjects.given_up(flow, node), f"{INBOX}.>"]  # an outsider's request on `in` gets an answer
    hears = [subjects.into(flow, node, ">"), subjects.ack(flow, node, "*", "*", "*")]
    hears.append(subjects.fetch(flow, node, "*", "*"))
    says += _key_rights("state", f"{subjects.state_key(flow, process)}.*")
    if context:
        for owner in (flow, "global"):
            says += [f"$KV.context.{owner}.>", f"$JS.API.DIRECT.GET.KV_context.$KV.context.{owner}.>"]

    for wire in wires_out:
        ends = wire_ends(flow, wire)
        if wire["delivery"] == "durable":
            says.append(subjects.log(ends.flow, ends.producer, ends.port, ends.consumer, ends.in_port))
        else:
            port = subjects.port_token(ends.port, int(replica) if replica else None)
            names = (ends.flow, ends.producer, port, ends.consumer)
            says += [subjects.offer(*names, token) for token in _tokens(wire["in_port"], wire.get("replicas"))]
            says += fetch_replies(flow, wire)
    for wire in wires_in:
        ends = wire_ends(flow, wire)
        if wire["delivery"] == "durable":
            where = streams[wire_id(wire)]
            path = f"{where['stream']}.{where['consumer']}"
            says += [f"$JS.API.CONSUMER.{ask}.{path}" for ask in ("MSG.NEXT", "INFO")]
            says.append(f"$JS.ACK.{path}.>")
            continue
        token = subjects.port_token(ends.in_port, int(replica) if replica else None)
        for port in _tokens(ends.port, wire.get("producer_replicas")):
            names = (ends.flow, ends.producer, port, ends.consumer)
            says.append(subjects.ack(*names, token))
            hears.append(subjects.offer(*names, token))
        hears.append(subjects.out(ends.flow, ends.producer, ends.port))
        says.append(subjects.fetch(ends.flow, ends.producer, ends.port, "*"))

    inbox = inbox_prefix(flow, process)
    says += [check_subject(subject) for subject in publish]
    hears += [*(check_subject(subject) for subject in subscribe), f"{inbox}.>"]
    return BusUser(
        f"{flow}.{process}",
        password or new_password(),
        tuple(dict.fromkeys(says)),
        tuple(dict.fromkeys(hears)),
        inbox=inbox,
    )


def fetch_replies(flow: str, wire: Mapping[str, Any]) -> list[str]:
    """Where the producer of a wire answers its consumers' requests for the bytes of tensors."""
    replicas = wire.get("replicas") or 1
    processes = [wire["consumer"]] if replicas == 1 else [f"{wire['consumer']}#{k}" for k in range(replicas)]
    return [subjects.fetch_reply(inbox_prefix(wire.get("to_flow") or flow, process), "*") for process in processes]


def fetch_rights(hears: Iterable[str]) -> list[str]:
    """What an outsider may ask for: the bytes of the tensors in what it may hear, and no others."""
    rights = []
    for subject in hears:
        root, *rest = subject.split(".")
        if root == ">":
            return ["fetch.>"]
        if root not in ("flow", "*"):
            continue
        if rest and rest[-1] == ">":
            rest = [*rest[:-1], *["*"] * (5 - len(rest))]
        if len(rest) == 4 and rest[2] in ("out", "*"):
            flow, node, _, port = rest
            rights.append(subjects.fetch(flow, node, port, "*"))
    return rights


def _key_rights(bucket: str, key: str) -> list[str]:
    """Write and read keys, by the direct path: `STREAM.MSG.GET` would read every key of the bucket."""
    return [f"$KV.{bucket}.{key}", f"$JS.API.DIRECT.GET.KV_{bucket}.$KV.{bucket}.{key}"]


def _tokens(port: str, replicas: int | None) -> list[str]:
    """A port's token in a wire's subjects: each replica has one of its own."""
    if replicas is None or replicas == 1:
        return [port]
    return [subjects.port_token(port, k) for k in range(replicas)]
