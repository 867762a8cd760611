import re
from typing import Any, Literal

from pydantic import field_validator, model_validator

from flowcore.node import GiveUp, In, Message, NodeConfig, Out, field
from flowcore.node.paths import MessagePath
from flowcore_nodes.core.database import Database, SqlNode
from flowcore_nodes.core.patience import Refused

_NAME = re.compile(r"[A-Za-z_]\w{0,62}")


class SqlInsert(SqlNode):
    """Write messages into a table, many at once.

    Messages that come together are written in one transaction, and are done when the database has committed it. One
    that the database refuses (a type, a constraint) is an error, the others are written. While the database is away
    messages wait in order. After a crash a message may come twice: give the table a key and set `conflict`.
    """

    type = "core/sql-insert"
    title = "SQL insert"
    icon = "database"

    class Config(NodeConfig):
        database: Database = field(..., description='The database, or {"$use": "name"} of a resource core/sql-database')
        table: str = field(..., description="The table, or schema.table")
        columns: dict[str, str] = field(
            ..., min_length=1, description='Column -> path of its value: {"machine": "topic", "temp": "payload.t"}'
        )
        conflict: Literal["error", "ignore", "update"] = field(
            "error", description="A row with this key is there: an error, leave it, or write over it"
        )
        key: list[str] = field([], description="Columns of the table's key, for conflict = update")
        missing: Literal["error", "null"] = field("error", description="A message has no such part: an error, or NULL")

        @field_validator("table")
        @classmethod
        def _is_table(cls, table: str) -> str:
            if not 1 <= len(table.split(".")) <= 2 or not all(map(_NAME.fullmatch, table.split("."))):
                raise ValueError(f"a table is a name, or schema.table, is {table!r}")
            return table

        @model_validator(mode="after")
        def _are_columns(self) -> "SqlInsert.Config":
            for name in (*self.columns, *self.key):
                if not _NAME.fullmatch(name):
                    raise ValueError(f"{name!r} is no name of a column")
            if missing := set(self.key) - set(self.columns):
                raise ValueError(f"key: {', '.join(sorted(missing))} is none of columns")
            if self.conflict == "update" and (not self.key or set(self.key) == set(self.columns)):
                raise ValueError("conflict = update needs a key, and columns that are not of it")
            return self

    in_ = In(description="a row")
    out = Out(description="the message, when its row is committed")

    async def on_start(self) -> None:
        await super().on_start()
        config = self.config
        for path in config.columns.values():
            MessagePath(path)
        self._paths = [MessagePath(path) for path in config.columns.values()]
        self._statement = statement(config)

    async def on_batch(self, messages: list[Message]) -> list[Message]:
        rows: list[tuple[Message, list[Any]]] = []
        for message in messages:
            try:
                rows.append((message, self._row(message)))
            except GiveUp as e:
                self.report(e, message)
        if not rows:
            return []
        try:
            await self._write(rows)
            return [message for message, _ in rows]
        except Refused as e:
            if len(rows) == 1:
                self.report(GiveUp(f"{self.config.table}: {e}"), rows[0][0])
                return []
        written = []
        for one in rows:  # one by one: the others are good
            try:
                await self._write([one])
                written.append(one[0])
            except Refused as e:
                self.report(GiveUp(f"{self.config.table}: {e}"), one[0])
        return written

    async def _write(self, rows: list[tuple[Message, list[Any]]]) -> None:
        names = list(self.config.columns)
        await self.patiently(lambda: self._driver.insert(self._statement, [row for _, row in rows], names))

    def _row(self, message: Message) -> list[Any]:
        row = []
        for (column, text), path in zip(self.config.columns.items(), self._paths, strict=True):
            try:
                row.append(path.get(message))
            except LookupError:
                if self.config.missing == "error":
                    raise GiveUp(f"{self.config.table}.{column}: the message has no {text}") from None
                row.append(None)
        return row


def statement(config: Any) -> str:
    """The INSERT; its names were checked, its values are parameters."""
    names = [f'"{name}"' for name in config.columns]
    table = ".".join(f'"{part}"' for part in config.table.split("."))
    values = ", ".join(f":{name}" for name in config.columns)
    text = f"INSERT INTO {table} ({', '.join(names)}) VALUES ({values})"
    if config.conflict == "ignore":
        return f"{text} ON CONFLICT DO NOTHING"
    if config.conflict == "update":
        changes = ", ".join(f'"{name}" = excluded."{name}"' for name in config.columns if name not in config.key)
        keys = ", ".join(f'"{name}"' for name in config.key)
        return f"{text} ON CONFLICT ({keys}) DO UPDATE SET {changes}"
    return text
