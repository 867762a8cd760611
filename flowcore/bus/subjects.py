"""NATS subjects: every name the engine publishes or subscribes to is made here, and nowhere else.

The public feed (`flow.`) and the plumbing of wires (`wire.`, `fetch.`) have different roots, so that a subscriber of
`flow.<flow>.>` gets no acks and no resends. Ids are checked here because nats-py accepts `a..b` and `wild.*.x`.
"""

import re

_ID = re.compile(r"[a-z0-9][a-z0-9_-]{0,63}")
_NODE = re.compile(r"[a-z0-9][a-z0-9_-]{0,63}(:[a-z0-9][a-z0-9_-]{0,63})*")
_PORT = re.compile(r"[a-z0-9_]{1,64}")


def is_id(text: str) -> bool:
    """True for a flow id, or a node id as a document has it (no `:`)."""
    return _ID.fullmatch(text) is not None


def is_node_id(text: str) -> bool:
    """True for a node id as it runs: `<instance>:<node>` inside subflow instances."""
    return _NODE.fullmatch(text) is not None


def is_port(text: str) -> bool:
    """True for a port name: one subject token, so no dash (a replica's token is `<port>-<k>`)."""
    return _PORT.fullmatch(text) is not None


def out(flow: str, node: str, port: str) -> str:
    """What a node emits on a port: the public feed."""
    return f"flow.{flow}.{node}.out.{port}"


def into(flow: str, node: str, port: str) -> str:
    """Where outsiders put a message into a node."""
    return f"flow.{flow}.{node}.in.{port}"


def event(flow: str, node: str, kind: str) -> str:
    """A node's `status`, `log`, `error`, `debug` or `stats`."""
    return f"flow.{flow}.{node}.{kind}"


def port_token(port: str, replica: int | None) -> str:
    """A consumer's port in a wire's subject; each replica of a node has a wire of its own."""
    return port if replica is None else f"{port}-{replica}"


def _wire(flow: str, producer: str, port: str, consumer: str, token: str, kind: str) -> str:
    return f"wire.{flow}.{producer}.{port}.{consumer}.{token}.{kind}"


def ack(flow: str, producer: str, port: str, consumer: str, token: str) -> str:
    """Where a consumer says how far it is."""
    return _wire(flow, producer, port, consumer, token, "ack")


def offer(flow: str, producer: str, port: str, consumer: str, token: str) -> str:
    """Where a producer resends to one consumer, probes it, and feeds a replica."""
    return _wire(flow, producer, port, consumer, token, "offer")


def log(flow: str, producer: str, port: str, consumer: str, token: str) -> str:
    """The JetStream subject of a durable wire."""
    return _wire(flow, producer, port, consumer, token, "log")


def host(name: str, what: str) -> str:
    """Where hosts that share a bus talk to each other: `who`, `beat`, and the operations of a member."""
    return f"flowcore.host.{name}.{what}"


EVENTS = "flowcore.events"
"""What hosts tell whoever watches: a flow was applied, node types changed, a process has another state. JSON."""

NOTICES = "flowcore.hosts.notice"
"""What hosts tell all others about the two ends of a wire that is between them."""


def fetch(flow: str, node: str, port: str, epoch: int | str) -> str:
    """Where a process is asked for the bytes of tensors that it sent from a port; nobody listens once it has ended."""
    return f"fetch.{flow}.{node}.{port}.{epoch}"


def fetch_reply(inbox: str, token: int | str) -> str:
    """Where those bytes go, below the asker's own inbox."""
    return f"{inbox}.fetch.{token}"


def given_up(flow: str, node: str) -> str:
    """The durable stream's subject for messages that were given up."""
    return f"flowcore.given_up.{flow}.{node}"


def kv_key(node: str) -> str:
    """A node id as a key-value key, which refuses `:` [nats-server 2.15]."""
    return node.replace(":", "=")


def state_key(flow: str, process: str) -> str:
    """Where the state of a process is kept; each replica (`hot#1`) has a state of its own."""
    node, _, replica = process.partition("#")
    return f"{flow}.{kv_key(node)}" + (f"/{replica}" if replica else "")


def node_of_key(key: str) -> str:
    """The node id of `kv_key`."""
    return key.replace("=", ":")
