"""SQL databases as the SQL nodes see them: SQLite and PostgreSQL behind three calls.

Values travel as parameters only, never as part of a statement: nothing that a message holds can be read as SQL. A
statement names them (`:order`); what PostgreSQL wants (`$1`) is made of it once. Refused is a statement or a value that
is wrong, Away a database that can't be reached, is busy or starting.
"""

import asyncio
import importlib
import json
import re
import sqlite3
import ssl
from collections.abc import Mapping, Sequence
from datetime import UTC, date, datetime, time
from decimal import Decimal
from pathlib import Path
from typing import Any, Literal, Protocol
from uuid import UUID

from pydantic import model_validator

from flowcore.node import Node, NodeConfig, field
from flowcore_nodes.core.patience import Away, Patience, Refused
from flowcore_nodes.core.tls import trusting

_CONNECT_S = 5.0

# Quoted texts and names, comments and casts are stepped over; a name after a colon is a parameter.
_PARAMETER = re.compile(r"'(?:[^']|'')*'|\"(?:[^\"]|\"\")*\"|--[^\n]*|/\*.*?\*/|::|:([A-Za-z_]\w*)", re.DOTALL)


class Database(NodeConfig):
    """Which database, and as whom; as a resource `core/sql-database` nodes share it."""

    kind: Literal["sqlite", "postgresql"] = field("sqlite", description="SQLite is a file, PostgreSQL a server")
    file: str = field("", description="sqlite: the file; made when it is not there")
    host: str = field("127.0.0.1", description="postgresql: name or address of the server, or the folder of its socket")
    port: int = field(5432, ge=1, le=65535, description="postgresql: port")
    database: str = field("", description="postgresql: name of the database; empty: that of the user")
    user: str = field("", description="postgresql: user")
    password: str = field("", secret=True, description="postgresql: password of the user")
    tls: bool = field(False, description="postgresql: speak TLS, and check the server's certificate")
    tls_ca: str = field("", description="File with the certificates to trust (PEM); empty: those of the system")
    setup: str = field(
        "", widget="textarea", description="Statements at each connect, such as CREATE TABLE IF NOT EXISTS ..."
    )
    timeout_s: float = field(30.0, gt=0, le=3600, description="Longest that a statement may take, in seconds")

    @model_validator(mode="after")
    def _is_whole(self) -> "Database":
        if self.kind == "sqlite" and not self.file:
            raise ValueError("sqlite needs a file")
        if self.kind == "postgresql" and not self.user:
            raise ValueError("postgresql needs a user")
        return self

    def __str__(self) -> str:
        return (
            self.file if self.kind == "sqlite" else f"postgresql {self.host}:{self.port}/{self.database or self.user}"
        )


class Driver(Protocol):
    """One connection."""

    async def query(self, statement: str, values: Mapping[str, Any], most: int) -> tuple[list[dict], int]:
        """Rows (at most `most`) and how many rows were changed. Raises Refused, Away."""

    async def insert(self, statement: str, rows: Sequence[Sequence[Any]], names: Sequence[str]) -> None:
        """Run it for all rows or, when one is refused, for none. Raises Refused, Away."""

    async def close(self) -> None:
        """Let go of it."""


def names_of(statement: str) -> list[str]:
    """The parameters of a statement, each once."""
    return list(dict.fromkeys(found[1] for found in _PARAMETER.finditer(statement) if found[1]))


def connection(database: Database) -> Driver:
    """What speaks with it; nothing is connected yet.

    Raises:
        ImportError: its library is not installed.
        ValueError: a certificate file can't be read.
    """
    return Sqlite(database) if database.kind == "sqlite" else Postgres(database)


class Sqlite:
    """See Driver. In a thread: SQLite waits for the disk."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._file: sqlite3.Connection | None = None

    async def query(self, statement: str, values: Mapping[str, Any], most: int) -> tuple[list[dict], int]:
        """See Driver."""
        return await self._within(self._query, statement, {k: _plain(v) for k, v in values.items()}, most)

    async def insert(self, statement: str, rows: Sequence[Sequence[Any]], names: Sequence[str]) -> None:
        """See Driver."""
        await self._within(self._insert, statement, [dict(zip(names, map(_plain, row), strict=True)) for row in rows])

    async def _within(self, function: Any, *args: Any) -> Any:
        task = asyncio.ensure_future(asyncio.to_thread(self._guarded, function, *args))
        try:
            return await asyncio.wait_for(asyncio.shield(task), self._database.timeout_s)
        except TimeoutError:
            if self._file is not None:
                self._file.interrupt()
            await asyncio.wait({task})
            task.exception()
            raise Refused(f"it took longer than {self._database.timeout_s:g} s") from None

    def _guarded(self, function: Any, *args: Any) -> Any:
        try:
            if self._file is None:
                Path(self._database.file).parent.mkdir(parents=True, exist_ok=True)
                self._file = sqlite3.connect(
                    self._database.file, timeout=1.0, isolation_level=None, check_same_thread=False
                )
                self._file.execute("PRAGMA journal_mode = WAL")
                try:
                    self._file.executescript(self._database.setup)
                except BaseException:
                    self._drop()
                    raise
            return function(self._file, *args)
        except sqlite3.OperationalError as e:
            text = str(e)
            if any(word in text for word in ("locked", "busy", "unable to open", "disk", "full", "readonly")):
                self._drop()
                raise Away(text) from None
            raise Refused(text) from None
        except (sqlite3.Error, OverflowError, UnicodeEncodeError) as e:
            raise Refused(str(e)) from None
        except OSError as e:
            raise Away(str(e)) from None

    @staticmethod
    def _query(file: sqlite3.Connection, statement: str, values: dict, most: int) -> tuple[list[dict], int]:
        cursor = file.execute(statement, values)
        columns = [one[0] for one in cursor.description or ()]
        rows = cursor.fetchmany(most + 1) if columns else []
        changed = cursor.rowcount
        cursor.close()
        return [dict(zip(columns, row, strict=True)) for row in rows], max(changed, 0)

    @staticmethod
    def _insert(file: sqlite3.Connection, statement: str, rows: list[dict]) -> None:
        file.execute("BEGIN IMMEDIATE")
        try:
            file.executemany(statement, rows)
            file.execute("COMMIT")
        except BaseException:
            if file.in_transaction:
                file.execute("ROLLBACK")
            raise

    def _drop(self) -> None:
        if self._file is not None:
            self._file.close()
            self._file = None

    async def close(self) -> None:
        """See Driver."""
        await asyncio.to_thread(self._drop)


class Postgres:
    """See Driver."""

    def __init__(self, database: Database) -> None:
        try:
            self._library: Any = importlib.import_module("asyncpg")
        except ImportError:
            raise ImportError("postgresql needs asyncpg: pip install 'flowcore[sql]'") from None
        self._database = database
        self._tls: ssl.SSLContext | Literal[False] = False
        if database.tls:
            self._tls = trusting(database.tls_ca)
        self._connection: Any = None

    async def query(self, statement: str, values: Mapping[str, Any], most: int) -> tuple[list[dict], int]:
        """See Driver."""

        async def ask(prepared: Any, convert: Any) -> tuple[list[dict], int]:
            rows = await prepared.fetch(*convert([values[name] for name in names_of(statement)]))
            words = (prepared.get_statusmsg() or "").split()
            changed = int(words[-1]) if words and words[-1].isdigit() and words[0] != "SELECT" else 0
            return [{key: _shown(value) for key, value in row.items()} for row in rows[: most + 1]], changed

        return await self._within(statement, ask)

    async def insert(self, statement: str, rows: Sequence[Sequence[Any]], names: Sequence[str]) -> None:
        """See Driver."""

        async def run(prepared: Any, convert: Any) -> None:
            async with self._connection.transaction():
                await prepared.executemany([convert(row) for row in rows])

        await self._within(statement, run)

    async def _within(self, statement: str, work: Any) -> Any:
        library, database = self._library, self._database
        try:
            if self._connection is None or self._connection.is_closed():
                self._connection = await self._connected()
                if database.setup:
                    try:
                        await self._connection.execute(database.setup)
                    except BaseException:
                        self._drop()
                        raise
            prepared = await self._connection.prepare(_numbered(statement))
            kinds = [one.name for one in prepared.get_parameters()]
            return await work(prepared, lambda row: [_as(value, kind) for value, kind in zip(row, kinds, strict=True)])
        except TimeoutError:
            if self._connection is None:
                raise Away("it can't be reached") from None
            await self._stop()
            raise Refused(f"it took longer than {database.timeout_s:g} s") from None
        except (
            library.PostgresConnectionError, library.OperatorInterventionError, library.InsufficientResourcesError,
            library.InvalidAuthorizationSpecificationError, library.InvalidCatalogNameError,
            library.TransactionRollbackError, OSError,
        ) as e:  # fmt: skip
            self._drop()
            raise Away(getattr(e, "strerror", None) or str(e) or type(e).__name__) from None
        except library.InterfaceError as e:
            if self._connection is not None and self._connection.is_closed():
                self._drop()
                raise Away(str(e)) from None
            raise Refused(str(e)) from None
        except library.PostgresError as e:
            raise Refused(str(e)) from None
        except (ValueError, TypeError, OverflowError) as e:
            raise Refused(str(e)) from None

    async def _connected(self) -> Any:
        database = self._database
        return await self._library.connect(
            host=database.host, port=database.port, user=database.user, password=database.password or None,
            database=database.database or None, ssl=self._tls, timeout=min(_CONNECT_S, database.timeout_s),
            command_timeout=database.timeout_s,
        )  # fmt: skip

    async def _stop(self) -> None:
        """End a statement that was not answered in time, and the connection. Raises Away: the server answers nobody."""
        connection, self._connection = self._connection, None
        try:
            await connection.close(timeout=min(_CONNECT_S, self._database.timeout_s))  # the library has sent a cancel
        except (TimeoutError, OSError, self._library.PostgresError, self._library.InterfaceError) as e:
            connection.terminate()
            raise Away(str(e) or "it does not answer") from None

    def _drop(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.terminate()

    async def close(self) -> None:
        """See Driver."""
        self._drop()


def _numbered(statement: str) -> str:
    names = names_of(statement)
    return _PARAMETER.sub(lambda found: f"${names.index(found[1]) + 1}" if found[1] else found[0], statement)


def _plain(value: Any) -> Any:
    """As SQLite takes it."""
    if value is None or isinstance(value, (bool, int, float, str, bytes)):
        return value
    if isinstance(value, (dict, list)):
        return json.dumps(value, ensure_ascii=False, allow_nan=False)
    raise Refused(f"{type(value).__name__} is no value of a database")


def _as(value: Any, kind: str) -> Any:
    """As a column of PostgreSQL takes it, which is particular about types.

    Raises:
        ValueError: it can't be made of this.
    """
    if value is None:
        return None
    match kind:
        case "timestamptz" | "timestamp":
            at = (
                datetime.fromtimestamp(value, UTC) if isinstance(value, (int, float)) else datetime.fromisoformat(value)
            )
            if kind == "timestamptz":
                return at if at.tzinfo else at.replace(tzinfo=UTC)
            return at.astimezone(UTC).replace(tzinfo=None) if at.tzinfo else at
        case "date":
            return date.fromisoformat(value)
        case "time":
            return time.fromisoformat(value)
        case "numeric":
            return Decimal(str(value))
        case "json" | "jsonb":
            return json.dumps(value, ensure_ascii=False, allow_nan=False)
        case "text" | "varchar" | "bpchar":
            return value if isinstance(value, str) else _text(value)
        case "float4" | "float8":
            return float(value)
    return value


def _text(value: Any) -> str:
    plain = _plain(value)
    return str(plain) if not isinstance(plain, bool) else str(plain).lower()


def _shown(value: Any) -> Any:
    """As a message carries it: times as ISO texts, decimals as numbers."""
    if isinstance(value, (datetime, date, time)):
        return value.isoformat()
    if isinstance(value, Decimal):
        return int(value) if value == value.to_integral_value() and abs(value) < 2**63 else float(value)
    if isinstance(value, UUID) or not isinstance(value, (type(None), bool, int, float, str, bytes, list, dict)):
        return str(value)
    return [_shown(one) for one in value] if isinstance(value, list) else value


class SqlNode(Node):
    """Base of the nodes that speak SQL."""

    category = "storage"
    outside = True

    _driver: Driver

    async def on_start(self) -> None:
        self._driver = connection(self.config.database)
        self._patience = Patience(self, str(self.config.database))

    async def on_stop(self) -> None:
        await self._driver.close()

    async def patiently(self, call: Any) -> Any:
        """What `call()` gives, as soon as the database is there. Raises Refused."""
        return await self._patience.until_done(call)
