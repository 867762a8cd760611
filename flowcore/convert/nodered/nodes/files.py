"""file, file in, watch, tail and exec: the machine's files and programs."""

from __future__ import annotations

import shlex
from pathlib import PurePosixPath
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
        raise CannotTurn(
            f"the file is named by the JSONata expression {name!r}", "set it in front by a core/javascript"
        )
    return typed.value(name, kind)


def _encoding(given: Given) -> str:
    name = given.text("encoding", "none").lower()
    if name == "setbymsg":
        given.differs("the encoding came with the message; here it is utf-8", "set the encoding of the node")
    if name in ("base64", "hex"):
        raise CannotTurn(f"the encoding {name!r}", "put a core/base64 node beside it")
    return _ENCODINGS.get(name, name)


def watch(given: Given) -> Turned:
    """`watch`: files and folders, of which ours watches one."""
    paths = [one.strip() for one in given.text("files").split(",") if one.strip()]
    folders = {str(PurePosixPath(one).parent) if PurePosixPath(one).suffix else one.rstrip("/") or "/" for one in paths}
    if len(folders) != 1:
        raise CannotTurn(f"it watches several places: {', '.join(paths)}", "a core/file-watch node for each")
    names = [PurePosixPath(one).name for one in paths if PurePosixPath(one).suffix]
    config: dict[str, Any] = {"path": typed.text(folders.pop())}
    if names:
        config["include"] = names
        given.differs("a name with a dot in it is taken for a file: its folder is watched for it")
    if not typed.truth(given["recursive"]):
        config["recursive"] = False
    return Turned("core/file-watch", config)


def tail(given: Given) -> Turned:
    """`tail`, of the package node-red-node-tail."""
    if given["inputs"] in (1, "1"):
        raise CannotTurn("it follows the file that a message names", "name the file in a core/tail node")
    config: dict[str, Any] = {"path": typed.text(given.text("filename"))}
    if given.text("filetype", "text") == "binary":
        config["encoding"] = "bytes"
    given.lacks("split", "lines are told apart by their line feed", harmless=("", None, "[\\r]{0,1}\\n", "\\n"))
    return Turned("core/tail", config, ["line"])


def exec_(given: Given) -> Turned:
    """`exec`."""
    command, append = given.text("command").strip(), given.text("append").strip()
    with_payload = given["addpay"]  # a path; in old exports whether the payload is taken
    path = "payload" if with_payload is True else typed.path(str(with_payload)) if with_payload else ""
    spawn = typed.truth(given["useSpawn"])
    config: dict[str, Any] = {}
    if spawn:
        try:
            words = shlex.split(command)
            if append and not path:
                words += shlex.split(append)
        except ValueError as error:
            raise CannotTurn(f"the command {command!r} can't be cut into words: {error}") from None
        if append and path:
            given.lacks("append", "what comes after the message's arguments", "write it in front of them")
        config |= {"command": [typed.text(word) for word in words], "output": "lines", "timeout_s": 0}
    else:
        script = " ".join(one for one in (command, '"$1"' if path else "", append) if one)
        config |= {"command": [typed.text(script)], "shell": True, "timeout_s": 0}
    if path:
        config["append"] = path
        given.differs("what is taken from the message is one argument, which no shell looks at", "a list is several")
    if timer := given.text("timer"):
        config["timeout_s"] = typed.number(timer, "the time-out")
    given.skip("winHide", "oldrc")
    return Turned("core/exec", config, ["stdout", "stderr", "result"])
