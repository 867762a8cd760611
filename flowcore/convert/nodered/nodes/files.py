"""file, file in, watch, tail and exec: the machine's files and programs."""

from __future__ import annotations

from typing import Any

from flowcore.convert.nodered import typed
from flowcore.convert.nodered.findings import CannotTurn
from flowcore.convert.nodered.node import Given, Turned

_ENCODINGS = {"none": "", "setbymsg": "", "utf8": "", "utf-8": "", "latin1": "latin-1", "binary": "latin-1"}


def file(given: Given) -> Turned:
    """`file`: writes."""
    config: dict[str, Any] = {"path": _path(given, "file-out writes one file"), "format": "raw"}
    overwrite = str(given.get("overwriteFile", "false")).lower()
    action = {"false": "append", "true": "overwrite", "delete": "delete"}.get(overwrite)
    if action is None:
        raise CannotTurn(f"overwriteFile is {overwrite!r}")
    if action != "append":
        config["action"] = action
    if not typed.truth(given.get("appendNewline", True)):
        config["newline"] = False
    if not typed.truth(given["createDir"]):
        config["create_folders"] = False
    if encoding := _encoding(given):
        config["encoding"] = encoding
    return Turned("core/file-out", config)


def file_in(given: Given) -> Turned:
    """`file in`: reads for each message."""
    config: dict[str, Any] = {"path": _path(given, "file-in reads one file"), "read": "message"}
    form = given.text("format", "utf8")
    given.skip("chunk")  # of the time before `format`
    config["output"] = {"utf8": "whole", "": "whole", "lines": "lines", "stream": "chunks"}.get(form, "whole")
    if form in ("", "stream"):
        config["encoding"] = "bytes"
        given.skip("encoding")
    elif encoding := _encoding(given):
        config["encoding"] = encoding
    given.lacks("sendError", "a file that can't be read is an error, for a catch node")
    given.lacks("allProps", "what else the message has goes along")
    return Turned("core/file-in", config)


def _path(given: Given, what: str) -> Any:
    kind = given.text("filenameType", "str" if given.raw.get("filename") else "msg")
    name = given["filename"]
    if kind == "msg" and not name:
        name = "filename"
    if kind == "jsonata":
        raise CannotTurn(f"the file is named by the JSONata expression {name!r}", "set it in front by a core/javascript")
    return typed.value(name, kind)


def _encoding(given: Given) -> str:
    name = given.text("encoding", "none").lower()
    if name == "setbymsg":
        given.differs("the encoding came with the message; here it is utf-8", "set the encoding of the node")
    if name in ("base64", "hex"):
        raise CannotTurn(f"the encoding {name!r}", "put a core/base64 node beside it")
    return _ENCODINGS.get(name, name)
