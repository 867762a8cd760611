from collections.abc import AsyncIterator
from typing import Any, Literal

from flowcore.node import GiveUp, In, Message, NodeConfig, Out, field
from flowcore.node.paths import MessagePath
from flowcore_nodes.core.database import Database, SqlNode, names_of
from flowcore_nodes.core.patience import Refused


class SqlQuery(SqlNode):
    """Run an SQL statement for each message, and send on what it finds.

    Parameters in the statement (`:order`) are taken from the message: from the path that `params` gives, else from the
    payload's key of that name. They are handed to the database beside the statement, never written into it, and the
    statement itself can't come from a message. While the database is away messages wait; what it refuses is an error.
    """

    type = "core/sql-query"
    title = "SQL query"
    icon = "database"

    class Config(NodeConfig):
        database: Database = field(..., description='The database, or {"$use": "name"} of a resource core/sql-database')
        statement: str = field(
            ..., min_length=1, widget="textarea", description="SQL with parameters, such as WHERE machine = :machine"
        )
        params: dict[str, str] = field({}, description="Parameter -> path of its value, such as topic or payload.id")
        output: Literal["list", "rows", "count"] = field(
            "list", description="One message with all rows as maps, one for each row, or one with the number changed"
        )
        max_rows: int = field(10_000, ge=1, le=1_000_000, description="More rows than that are an error")

    in_ = In(description="has the values of the parameters")
    out = Out(description="what was found; meta.changed: how many rows were changed")

    async def on_start(self) -> None:
        await super().on_start()
        names = names_of(self.config.statement)
        if unknown := set(self.config.params) - set(names):
            raise ValueError(f"params {', '.join(sorted(unknown))}: not in the statement, which has {', '.join(names)}")
        self._paths = {name: MessagePath(self.config.params.get(name, f'payload["{name}"]')) for name in names}

    async def on_message(self, message: Message) -> AsyncIterator[Message]:
        config = self.config
        try:
            values: dict[str, Any] = {name: path.get(message) for name, path in self._paths.items()}
            rows, changed = await self.patiently(lambda: self._driver.query(config.statement, values, config.max_rows))
        except (LookupError, Refused) as e:
            raise GiveUp(f"{config.database}: {e}") from None
        if len(rows) > config.max_rows:
            raise GiveUp(f"more than {config.max_rows} rows (max_rows): ask for fewer, or with LIMIT")
        meta = {**message.meta, "changed": changed}
        if config.output == "rows":
            for row in rows:
                yield message.derive(row, meta=meta)
        else:
            yield message.derive(rows if config.output == "list" else changed, meta=meta)
