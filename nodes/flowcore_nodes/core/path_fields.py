"""Config fields that hold paths: checked when a flow is, not when a message comes."""

from typing import Annotated

from pydantic import AfterValidator

from flowcore.node.paths import MessagePath


def _readable(path: str) -> str:
    MessagePath(path)
    return path


def _readable_or_empty(path: str) -> str:
    return _readable(path) if path else path


def _writable(path: str) -> str:
    MessagePath(path).check_writable()
    return path


def _writable_or_empty(path: str) -> str:
    return _writable(path) if path else path


ReadPath = Annotated[str, AfterValidator(_readable)]
ReadPathOrEmpty = Annotated[str, AfterValidator(_readable_or_empty)]
WritePath = Annotated[str, AfterValidator(_writable)]
WritePathOrEmpty = Annotated[str, AfterValidator(_writable_or_empty)]
