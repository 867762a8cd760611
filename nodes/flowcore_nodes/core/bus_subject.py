"""Which subjects are a flow's own to use: what the NATS nodes share."""

import re

from flowcore.node import GiveUp, Message

# The engine's own plumbing, JetStream's and other users' replies: no flow may touch them.
_RESERVED = ("wire", "flowcore", "_INBOX")
_TOKEN = re.compile(r"[^\s.*>\x00-\x1f]+")


def check_subject(subject: str, *, may_write: bool, may_have_wildcards: bool = True) -> str:
    """The subject as it is.

    Raises:
        ValueError: it is no NATS subject, or one that a flow may not use.
    """
    tokens = subject.split(".")
    for place, token in enumerate(tokens):
        is_wildcard = token == "*" or (token == ">" and place == len(tokens) - 1)
        if is_wildcard and not may_have_wildcards:
            raise ValueError(f"subject {subject!r}: no wildcards here")
        if not is_wildcard and not _TOKEN.fullmatch(token):
            raise ValueError(
                f"subject {subject!r}: {token!r} is no part of a subject (words between dots; * and > alone)"
            )
    first = tokens[0]
    if first.startswith("$") or first.split("_INBOX")[0] == "" or first in _RESERVED:
        raise ValueError(f"subject {subject!r}: {first} belongs to the engine")
    if first in ("*", ">"):
        raise ValueError(f"subject {subject!r}: begin with a word, {first} takes in the engine's own subjects")
    if may_write and first == "flow" and not (len(tokens) == 5 and tokens[3] == "in"):
        raise ValueError(f"subject {subject!r}: of flow.>, a flow may only write flow.<flow>.<node>.in.<port>")
    return subject


def fits_subject(subject: str, pattern: str) -> bool:
    """True when `pattern`, which may have wildcards, takes in `subject`."""
    words, wanted = subject.split("."), pattern.split(".")
    for place, token in enumerate(wanted):
        if token == ">":
            return len(words) > place
        if place >= len(words) or (token != "*" and token != words[place]):
            return False
    return len(words) == len(wanted)


def subject_of(message: Message, subject: str) -> str:
    """Where a message goes: `subject`, or the message's topic where `subject` has wildcards.

    Raises:
        GiveUp: the topic is no subject, or does not fit.
    """
    if not any(token in ("*", ">") for token in subject.split(".")):
        return subject
    try:
        check_subject(message.topic, may_write=True, may_have_wildcards=False)
    except ValueError as e:
        raise GiveUp(f"the topic must be the subject: {e}") from None
    if not fits_subject(message.topic, subject):
        raise GiveUp(f"topic {message.topic!r} does not fit the subject {subject!r}")
    return message.topic
