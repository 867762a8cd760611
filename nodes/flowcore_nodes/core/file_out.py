import codecs
import json
import os
from collections import OrderedDict
from pathlib import Path
from typing import Any, Literal

from pydantic import field_validator, model_validator

from flowcore.node import GiveUp, In, Message, Node, NodeConfig, Out, field
from flowcore.node.paths import MessagePath
from flowcore_nodes.core.file_rotation import Rotate


class FileOut(Node):
    """Write messages to a file: append, overwrite or delete it.

    By default each message is one line of JSON. A text or bytes are written as they are with format = raw. What was
    written goes on to the output. When the disk is full each message is an error of its own, nothing half-written stays
    in the file, and writing goes on when there is room again. After a crash a message may be there twice.

    With `rotate` a file is set aside when it is large, or with a new day, under a name with its time
    (app.log-20260131-235959); so many, or for so long, are kept. A message is never in two files.
    """

    type = "core/file-out"
    title = "File out"
    category = "storage"
    icon = "file-output"
    outside = True

    class Config(NodeConfig):
        path: str = field(
            ..., min_length=1, description="The file; a reference such as a message's topic is possible", dynamic=True
        )
        action: Literal["append", "overwrite", "delete"] = field("append", description="What is done with the file")
        format: Literal["json", "raw"] = field(
            "json",
            description="json: the value as JSON; raw: text and bytes as they are, numbers as text, the rest as JSON",
        )
        value: str = field("payload", description="Path of what is written: payload, payload.text ...")
        newline: bool = field(True, description="End each message with a line feed; not after bytes")
        encoding: str = field("utf-8", description="Of text, such as utf-8 or latin-1")
        fsync: bool = field(False, description="On the disk before the message counts as handled; slower")
        create_folders: bool = field(True, description="Make the folders of the path when they are missing")
        max_open: int = field(
            32, ge=1, le=256, description="Most files kept open, when paths differ from message to message"
        )

        rotate: Rotate = field(Rotate(), description="append: when the file is set aside, and how long it is kept")

        @field_validator("encoding")
        @classmethod
        def _is_encoding(cls, name: str) -> str:
            try:
                codecs.lookup(name)
            except (LookupError, ValueError):
                raise ValueError(f"no encoding {name!r}; usual are utf-8, latin-1 and cp1252") from None
            return name

        @field_validator("value")
        @classmethod
        def _is_path(cls, path: str) -> str:
            MessagePath(path)
            return path

        @model_validator(mode="after")
        def _rotates_what_grows(self) -> "FileOut.Config":
            if self.rotate.is_wanted and self.action != "append":
                raise ValueError(f"rotate is for action = append, not {self.action}")
            return self

    in_ = In()
    out = Out(description="the message, when it is written")

    def on_start(self) -> None:
        self._open: OrderedDict[str, int] = OrderedDict()  # path -> descriptor, the longest unused first
        self._value = MessagePath(self.config.value).get

    def on_reconfigure(self, old: Any) -> None:
        self.on_stop()
        self.on_start()

    def on_stop(self) -> None:
        for descriptor in self._open.values():
            os.close(descriptor)
        self._open.clear()

    def on_batch(self, messages: list[Message]) -> list[Message]:
        """Write what came together in one go; what can't be written is reported message by message."""
        written: list[Message] = []
        errors: list[tuple[Exception, Message]] = []
        for path, group in self._by_path(messages, errors).items():
            done = 0
            try:
                while done < len(group):
                    contents = [content for _, content in group[done:]]
                    count = self._turn(path, contents)
                    self._write(path, contents[:count])
                    written += [message for message, _ in group[done : done + count]]
                    done += count
            except OSError:
                for message, content in group[done:]:  # one by one: some may still fit
                    try:
                        self._write(path, [content])
                        written.append(message)
                    except OSError as e:
                        errors.append((e, message))
        if not written and errors and len(errors) == len(messages) and isinstance(errors[0][0], OSError):
            raise errors[0][0]  # nothing was done: the node's retries apply
        for error, message in errors:
            self.report(error, message)
        return written

    def _by_path(
        self, messages: list[Message], errors: list[tuple[Exception, Message]]
    ) -> dict[str, list[tuple[Message, bytes]]]:
        groups: dict[str, list[tuple[Message, bytes]]] = {}
        for message in messages:
            try:
                path = self.setting("path", message)
                if not isinstance(path, str) or not path or "\0" in path:
                    raise GiveUp(f"the path must be a text, got {path!r}")
                content = b"" if self.config.action == "delete" else self._content(self._value(message))
                groups.setdefault(path, []).append((message, content))
            except (GiveUp, LookupError, TypeError, ValueError) as e:
                errors.append((e, message))
        return groups

    def _content(self, value: Any) -> bytes:
        if self.config.format == "raw" and isinstance(value, (bytes, bytearray)):
            return bytes(value)
        if self.config.format == "raw" and isinstance(value, str):
            text = value
        else:
            try:
                text = json.dumps(value, ensure_ascii=False, allow_nan=False)
            except (TypeError, ValueError) as e:
                raise GiveUp(f"can't be written as JSON: {e}") from None
        return (text + "\n" if self.config.newline else text).encode(self.config.encoding)

    def _turn(self, path: str, contents: list[bytes]) -> int:
        """Set the file aside where that is due; returns how many of the contents go into the one that is there now."""
        rotate = self.config.rotate
        if not rotate.is_wanted:
            return len(contents)
        file = Path(path)
        try:
            if rotate.is_due(file, len(contents[0]), self.now_s()):
                self._close(path)
                rotate.set_aside(file, self.now_s())
            return rotate.fits(file, contents)
        except OSError as e:  # it grows on: nothing is lost
            self.log.warning("could not set %s aside: %s", path, e)
            return len(contents)

    def _write(self, path: str, contents: list[bytes]) -> None:
        """All of it or, when the disk refuses, nothing. Raises OSError."""
        match self.config.action:
            case "append":
                self._append(path, b"".join(contents))
            case "overwrite":
                self._overwrite(Path(path), contents[-1])
            case "delete":
                self._close(path)
                Path(path).unlink(missing_ok=True)

    def _append(self, path: str, content: bytes) -> None:
        descriptor = self._descriptor(path)
        size = os.fstat(descriptor).st_size
        try:
            _write_all(descriptor, content)
            if self.config.fsync:
                os.fsync(descriptor)
        except OSError:
            try:
                os.ftruncate(descriptor, size)  # half a line would spoil the next one
            except OSError:
                self.log.warning("could not take back a half-written line of %s", path)
            self._close(path)
            raise

    def _overwrite(self, path: Path, content: bytes) -> None:
        """Beside the file, then in its place: a reader sees the old content or the new."""
        if self.config.create_folders:
            path.parent.mkdir(parents=True, exist_ok=True)
        beside = path.with_name(f".{path.name}.{os.getpid()}.new")
        descriptor = os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, _mode_of(path))
        try:
            try:
                _write_all(descriptor, content)
                if self.config.fsync:
                    os.fsync(descriptor)
            finally:
                os.close(descriptor)
            beside.replace(path)
        except OSError:
            beside.unlink(missing_ok=True)
            raise

    def _descriptor(self, path: str) -> int:
        descriptor = self._open.get(path)
        if descriptor is not None and _is_same_file(descriptor, path):
            self._open.move_to_end(path)
            return descriptor
        self._close(path)  # it was moved away or deleted, by a log rotation for one
        if self.config.create_folders:
            Path(path).parent.mkdir(parents=True, exist_ok=True)
        while len(self._open) >= self.config.max_open:
            os.close(self._open.popitem(last=False)[1])
        # Not O_APPEND alone decides where a line goes: another writer's lines stay whole as well.
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o644)
        self._open[path] = descriptor
        return descriptor

    def _close(self, path: str) -> None:
        descriptor = self._open.pop(path, None)
        if descriptor is not None:
            os.close(descriptor)


def _write_all(descriptor: int, content: bytes) -> None:
    view = memoryview(content)
    while view:
        view = view[os.write(descriptor, view) :]


def _is_same_file(descriptor: int, path: str) -> bool:
    try:
        here, there = os.fstat(descriptor), os.stat(path)  # noqa: PTH116
    except OSError:
        return False
    return (here.st_dev, here.st_ino) == (there.st_dev, there.st_ino)


def _mode_of(path: Path) -> int:
    try:
        return path.stat().st_mode & 0o777
    except OSError:
        return 0o644
