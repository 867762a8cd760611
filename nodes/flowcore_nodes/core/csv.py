import json
import re
import uuid
from collections.abc import Iterator
from typing import Any, Literal

from pydantic import field_validator, model_validator

from flowcore.node import GiveUp, In, Message, Node, NodeConfig, Out, field
from flowcore_nodes.core.csv_text import BadCsv, Cell, complete_length, number_in, parse, skip_lines, write_row
from flowcore_nodes.core.numbers import number_of, plain

_COLUMNS, _HEADER_SENT, _STREAM, _ROW = "columns", "header sent", "stream", "row "  # keys of self.state

_Type = Literal["text", "number", "integer", "bool"]
_WORDS = {"true": True, "yes": True, "1": True, "false": False, "no": False, "0": False}


class Csv(Node):
    """Turn CSV text into maps, one a row, or maps and lists into CSV text.

    A text becomes one message a row or one with all rows; names come from the first row, from `columns`, or are col1,
    col2 and so on. What comes in pieces is read as one text: a line a message with `meta.parts`, as a split makes them,
    or with `pieces` any lines or chunks, as a file-in node reads them. `meta.columns` goes along, and names the columns
    of what is written. A row that does not fit is an error of its own, with its line.
    """

    type = "core/csv"
    title = "CSV"
    category = "parser"
    icon = "table"
    stateful = True

    class Config(NodeConfig):
        columns: str = field(
            "", description="Names of the columns, with commas between; an empty one leaves its column out"
        )
        separator: str = field(",", min_length=1, max_length=1, description="What is between cells, such as ; or a tab")
        quote: str = field('"', min_length=1, max_length=1, description="What is around cells with a separator in them")
        header: bool = field(False, description="From CSV: the first row has the names of the columns")
        skip_lines: int = field(0, ge=0, le=1_000_000, description="From CSV: lines at the beginning that are no data")
        numbers: bool = field(
            True, description="From CSV: cells that are numbers become numbers; not 007 or +49, which would lose digits"
        )
        types: dict[str, _Type] = field(
            {}, description="From CSV: types by column, in place of `numbers`; a cell that does not fit is an error"
        )
        empty_texts: bool = field(False, description='From CSV: a cell "" is an empty text; off: it is left out')
        nulls: bool = field(False, description="From CSV: an empty cell is null; off: it is left out")
        output: Literal["rows", "table"] = field("rows", description="From CSV: one message a row, or one with a list")
        pieces: Literal["no", "lines", "chunks"] = field(
            "no",
            description="From CSV: messages are lines, or chunks that end anywhere, of one text that ends with "
            "meta.complete or the last of meta.parts; the next begins with another meta.file or meta.reset",
        )
        strict: bool = field(False, description="From CSV: quotes where none should be are an error; off: best guess")
        header_out: Literal["none", "once", "all"] = field(
            "none", description="To CSV: names first; never, until a message has meta.reset, or in each message"
        )
        newline: Literal["\r\n", "\n", "\r"] = field("\r\n", description="To CSV: what ends a line")
        max_bytes: int = field(16_777_216, gt=0, le=268_435_456, description="Longest text, in characters")
        max_held: int = field(
            10_000, gt=0, le=1_000_000, description="Most rows that wait for the rest of their table; more are errors"
        )

        @field_validator("columns")
        @classmethod
        def _are_columns(cls, columns: str) -> str:
            _names(columns)
            return columns

        @model_validator(mode="after")
        def _can_be_told_apart(self) -> "Csv.Config":
            if self.separator == self.quote or set(self.separator + self.quote) & set("\r\n"):
                raise ValueError("separator and quote must differ, and neither ends a line")
            if self.pieces != "no" and self.output == "table":
                raise ValueError("pieces are sent row by row; output = table is for whole texts and meta.parts")
            return self

    in_ = In(description="text or bytes (UTF-8): from CSV; a map, a list of maps, lists or values: to CSV")
    out = Out(description="a map a row, a list of maps, or text; meta.columns, meta.parts")

    def on_start(self) -> None:
        self._template = _names(self.config.columns)

    def on_reconfigure(self, old: Any) -> None:
        self.on_start()

    def on_message(self, message: Message) -> Iterator[Message]:
        if "reset" in message.meta:
            for key in (_HEADER_SENT, _STREAM):
                self.state.pop(key, None)
        payload = message.payload
        try:
            if isinstance(payload, (str, bytes)):
                text = _decoded(payload)
                if len(text) > self.config.max_bytes:
                    raise GiveUp(f"the text has {len(text)} characters, max_bytes is {self.config.max_bytes}")
                if self.config.pieces != "no":
                    yield from self._from_piece(text, message)
                elif isinstance(message.meta.get("parts"), dict):
                    yield from self._from_part(text, message, message.meta["parts"])
                else:
                    yield from self._from_text(text, message)
            elif isinstance(payload, (dict, list, tuple)):
                yield self._to_text(payload, message)
            elif payload is not None or "reset" not in message.meta:
                raise GiveUp(f"CSV is made of text, maps and lists, got {type(payload).__name__}")
        except BadCsv as e:
            raise GiveUp(f"not CSV: {e}") from None

    # -- from CSV -------------------------------------------------------------------------------------------------

    def _from_text(self, text: str, message: Message) -> Iterator[Message]:
        rows, first_line = self._cells(skip_lines(text.removeprefix("\ufeff"), self.config.skip_lines)), 1
        names = self._template
        if self.config.header and rows:
            names, first_line = rows.pop(0), 2
        names = names or _numbered(rows[:1])
        maps = list(self._maps(rows, names, message, first_line))
        columns = _columns(names)
        if self.config.output == "table":
            yield message.derive(maps, meta={**message.meta, "columns": columns})
            return
        group = message.id or message.parent or uuid.uuid4().hex
        for index, row in enumerate(maps):
            parts = {"id": group, "index": index, "count": len(maps)}
            yield message.derive(row, meta={**message.meta, "columns": columns, "parts": parts})

    def _from_part(self, text: str, message: Message, parts: dict) -> Iterator[Message]:
        """One of a sequence of messages: as a rule a line, with or without its end."""
        index, count = parts.get("index"), parts.get("count")
        if not isinstance(index, int):
            raise GiveUp("meta.parts has no index")
        config, is_last = self.config, isinstance(count, int) and index + 1 >= count
        if index == 0:
            text = text.removeprefix("\ufeff")
        begin = skip_lines(text, config.skip_lines - index) if index < config.skip_lines else text
        is_several = len(begin.splitlines()) > 1
        rows = self._cells(begin)
        names: list[Cell] = self.state.get(_COLUMNS) or []
        is_first = index <= config.skip_lines or (config.output == "table" and is_several)
        if config.header and is_first and rows:
            names = rows.pop(0)
            self.state[_COLUMNS] = names
        elif not config.header:
            names = self._template
        names = names or _numbered(rows[:1])
        maps = list(self._maps(rows, names, message, index + 1))
        meta = {**message.meta, "columns": _columns(names)}
        if config.output == "table":
            del meta["parts"]
            yield from self._collect(maps, message, meta, str(parts.get("id")), is_last, is_several)
            return
        before = config.skip_lines + config.header
        meta["parts"] = {**parts, "index": index - before}
        if isinstance(count, int):
            meta["parts"]["count"] = count - before
        if is_last:
            meta["complete"] = True
        for row in maps:
            yield message.derive(row, meta=meta)
        if is_last and not maps:
            yield message.derive(None, meta={"complete": True})

    def _collect(
        self, maps: list[dict], message: Message, meta: dict, group: str, is_last: bool, is_several: bool
    ) -> Iterator[Message]:
        if is_several:  # it is a table by itself
            yield message.derive(maps, meta=meta)
            return
        prefix = f"{_ROW}{group} "
        held = sum(key.startswith(_ROW) for key in self.state) if maps else 0
        for number, row in enumerate(maps, held):
            if number >= self.config.max_held:
                raise GiveUp(f"more than max_held = {self.config.max_held} rows wait for the rest of their tables")
            self.state[f"{prefix}{number:07d}"] = row
        if is_last:
            keys = [key for key in self.state if key.startswith(prefix)]
            yield message.derive([self.state.pop(key) for key in keys], meta=meta)

    def _from_piece(self, text: str, message: Message) -> Iterator[Message]:
        """A piece of one long text: rows that are whole go on, the rest waits in the state."""
        config, file = self.config, message.meta.get("file")
        stream = self.state.get(_STREAM)
        if stream is None or stream["file"] != file:
            stream = {"file": file, "rest": "", "skip": config.skip_lines, "names": None, "index": 0}
            text = text.removeprefix("\ufeff")
        text = stream["rest"] + text + ("\n" if config.pieces == "lines" else "")
        if len(text) > config.max_bytes:
            self.state.pop(_STREAM, None)
            raise GiveUp(f"a row of more than max_bytes = {config.max_bytes}: is a quote not closed?")
        parts = message.meta.get("parts")
        parts = parts if isinstance(parts, dict) else {}
        is_last = bool(message.meta.get("complete")) or parts.get("count", 0) == parts.get("index", 0) + 1
        cut = len(text) if is_last else complete_length(text, config.quote)
        whole, rest = text[:cut], text[cut:]
        while stream["skip"] and (line := re.match(r".*?(?:\r\n|\r|\n)", whole)):
            whole, stream = whole[line.end() :], {**stream, "skip": stream["skip"] - 1}
        rows = self._cells(whole)
        names = stream["names"] or (None if config.header else self._template)
        if names is None and rows:
            names = rows.pop(0)
        names = names or _numbered(rows[:1])
        meta = {key: value for key, value in message.meta.items() if key not in ("parts", "complete")}
        index = stream["index"]
        for row in self._maps(rows, names, message, index + 1):
            yield message.derive(row, meta={**meta, "columns": _columns(names), "row": index})
            index += 1
        if is_last:
            self.state.pop(_STREAM, None)
            yield message.derive(None, meta={**meta, "complete": True})
        else:
            self.state[_STREAM] = {**stream, "rest": rest, "names": names or None, "index": index}

    def _cells(self, text: str) -> list[list[Cell]]:
        return parse(text, self.config.separator, self.config.quote, is_strict=self.config.strict)

    def _maps(self, rows: list[list[Cell]], names: list[Cell], message: Message, first_line: int) -> Iterator[dict]:
        for line, row in enumerate(rows, first_line):
            try:
                made = self._map(row, names)
            except ValueError as e:
                self.report(ValueError(f"row {line}: {e}"), message)
                continue
            if made:
                yield made

    def _map(self, row: list[Cell], names: list[Cell]) -> dict[str, Any]:
        config = self.config
        if config.strict and len(row) > len(names):
            raise ValueError(f"it has {len(row)} cells, there are {len(names)} columns")
        made: dict[str, Any] = {}
        for place, name in enumerate(names):
            if not name:
                continue
            cell = row[place] if place < len(row) else None
            if not cell:
                if config.nulls if cell is None else config.empty_texts:
                    made[name] = cell
            elif name in config.types:
                made[name] = _as_type(cell, config.types[name], name)
            else:
                made[name] = number_in(cell, number_of) if config.numbers else cell
        return made

    # -- to CSV ---------------------------------------------------------------------------------------------------

    def _to_text(self, payload: Any, message: Message) -> Message:
        config, rows = self.config, [payload] if isinstance(payload, dict) else list(payload)
        if rows and not isinstance(rows[0], (dict, list, tuple)):
            rows = [rows]
        parts, names = message.meta.get("parts"), self._template
        if not names and isinstance(parts, dict) and parts.get("index", 0) > 0:
            names = self.state.get(_COLUMNS) or []  # as in the first of its sequence
        if not names and isinstance(message.meta.get("columns"), str):
            names = _names(message.meta["columns"])
        lines: list[str] = []
        has_header = config.header_out == "all" or (config.header_out == "once" and not self.state.get(_HEADER_SENT))
        if not names and rows and isinstance(rows[0], dict):
            names = [str(name) for name in rows[0]]
        if has_header and names:
            lines.append(write_row([name or "" for name in names], config.separator, config.quote))
            if config.header_out == "once":
                self.state[_HEADER_SENT] = True
        if isinstance(parts, dict) and not self._template and self.state.get(_COLUMNS) != names:
            self.state[_COLUMNS] = names
        for number, row in enumerate(rows, 1):
            lines.append(write_row(self._line(row, names, number), config.separator, config.quote))
        text = "".join(line + config.newline for line in lines)
        return message.derive(text, meta={**message.meta, "columns": _columns(names)})

    @staticmethod
    def _line(row: Any, names: list[Cell], number: int) -> list[str]:
        if isinstance(row, dict):
            return [_cell(row.get(name)) if name else "" for name in names]
        if not isinstance(row, (list, tuple)):
            raise GiveUp(f"row {number} is neither a map nor a list but {type(row).__name__}")
        if not names:
            return [_cell(value) for value in row]
        return [_cell(row[place]) if name and place < len(row) else "" for place, name in enumerate(names)]


def _decoded(text: str | bytes) -> str:
    if isinstance(text, str):
        return text
    try:
        return text.decode("utf-8")
    except UnicodeDecodeError as e:
        raise GiveUp(f"not UTF-8: {e.reason} at byte {e.start}; read the file with its encoding") from None


def _names(columns: str) -> list[Cell]:
    """The names in a template. Raises BadCsv."""
    rows = parse(columns, ",", '"', is_strict=True)
    if len(rows) > 1:
        raise BadCsv("the names of the columns must be on one line")
    return rows[0] if rows else []


def _numbered(first: list[list[Cell]]) -> list[Cell]:
    return [f"col{number}" for number in range(1, len(first[0]) + 1)] if first else []


def _columns(names: list[Cell]) -> str:
    return write_row([name for name in names if name], ",", '"')


def _as_type(cell: str, kind: str, name: str) -> Any:
    if kind == "text":
        return cell
    if kind == "bool":
        word = cell.strip().lower()
        if word not in _WORDS:
            raise ValueError(f"{name} must be true or false, got {cell[:40]!r}")
        return _WORDS[word]
    number = number_of(cell)
    if number is None or (kind == "integer" and number != int(number)):
        raise ValueError(f"{name} must be {'a whole' if kind == 'integer' else 'a'} number, got {cell[:40]!r}")
    return int(number) if kind == "integer" else number


def _cell(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, str):
        return value
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, (int, float)):
        return re.sub(r"e([+-])0+", r"e\1", str(plain(value)))
    if isinstance(value, bytes):
        return value.decode("utf-8", "replace")
    try:
        return json.dumps(value, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    except (TypeError, ValueError) as e:
        raise GiveUp(f"a cell can't be written: {e}") from None
