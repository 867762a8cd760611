"""SQL nodes on SQLite, and on a real PostgreSQL server where Debian's is installed."""

import asyncio
import os
import secrets
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from pathlib import Path

import psutil
import pytest
from flowcore_nodes.core.database import names_of
from flowcore_nodes.core.patience import Refused
from flowcore_nodes.core.sql_insert import SqlInsert
from flowcore_nodes.core.sql_query import SqlQuery

from flowcore.node.testing import drive
from tests.certificates import make_certificate

PASSWORD = "it's the plant's"


def programs() -> Path | None:
    """Where PostgreSQL's programs are."""
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"))
    return found[-1].parent if found else Path(path).parent if (path := shutil.which("initdb")) else None


class Server:
    """A PostgreSQL server in a folder of its own, as a user without rights."""

    def __init__(self) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="flowcore-pg-"))
        self.bin = programs()
        self.user = "nobody" if os.getuid() == 0 else None  # PostgreSQL does not run as root
        with socket.socket() as sock:
            sock.bind(("127.0.0.1", 0))
            self.port = sock.getsockname()[1]
        if self.user:
            shutil.chown(self.folder, self.user)
        (self.folder / "password").write_text(PASSWORD + "\n")
        (self.folder / "password").chmod(0o644)
        self.certificate, key = make_certificate(self.folder)
        key.chmod(0o600)
        if self.user:
            shutil.chown(key, self.user)
        self._run(
            "initdb", "-D", "data", "-U", "plant", "--auth=scram-sha-256", "--pwfile=password", "-N", "-E", "UTF8"
        )
        self.start()

    def _run(self, program: str, *args: str) -> None:
        subprocess.run([self.bin / program, *args], cwd=self.folder, user=self.user, check=True, capture_output=True)

    def start(self) -> None:
        command = [
            self.bin / "postgres", "-D", "data", "-p", str(self.port), "-k", str(self.folder), "-c", "fsync=off",
            "-c", "listen_addresses=127.0.0.1", "-c", "ssl=on", "-c", f"ssl_cert_file={self.certificate}",
            "-c", f"ssl_key_file={self.certificate.with_suffix('.key')}",
        ]  # fmt: skip
        with (self.folder / "log").open("ab") as log:
            self.process = subprocess.Popen(command, cwd=self.folder, user=self.user, stdout=log, stderr=log)
        until_s = time.monotonic() + 30
        ready = [self.bin / "pg_isready", "-q", "-h", "127.0.0.1", "-p", str(self.port)]
        while subprocess.run(ready, check=False).returncode:
            assert self.process.poll() is None and time.monotonic() < until_s, (self.folder / "log").read_text()
            time.sleep(0.05)

    def kill(self) -> None:
        """At once, and all its children with it: it recovers from its log when it is started again."""
        self.process.send_signal(signal.SIGQUIT)
        self.process.wait(20)

    def stop(self) -> list[psutil.Process]:
        """It keeps its connections, and says nothing more, until each of these is resumed."""
        server = psutil.Process(self.process.pid)
        server.suspend()  # first: it would start others
        stopped = [server, *server.children()]
        for one in stopped:
            one.suspend()
        return stopped

    def remove(self) -> None:
        self.process.terminate()
        self.process.wait()
        shutil.rmtree(self.folder)

    @property
    def config(self) -> dict:
        return {"kind": "postgresql", "port": self.port, "user": "plant", "database": "postgres", "password": PASSWORD}


@pytest.fixture(scope="module")
def postgres():
    if programs() is None:
        pytest.skip("PostgreSQL is not installed (Debian: postgresql)")
    pytest.importorskip("asyncpg")
    made = Server()
    yield made
    made.remove()


@pytest.fixture(params=["sqlite", "postgresql"])
def database(request, tmp_path) -> dict:
    if request.param == "sqlite":
        return {"kind": "sqlite", "file": str(tmp_path / "deep" / "plant.db")}
    return request.getfixturevalue("postgres").config


async def run(database, statement: str, **payload) -> list:
    async with drive(SqlQuery, database=database, statement=statement) as node:
        await node.put(payload)
        assert not node.errors, node.errors
        return (await node.sent())[0]


@pytest.fixture
async def table(database):
    name = f"t_{secrets.token_hex(4)}"
    kinds = (
        "TIMESTAMPTZ, temp DOUBLE PRECISION, about JSONB"
        if database["kind"] == "postgresql"
        else "TEXT, temp REAL, about TEXT"
    )
    await run(database, f"CREATE TABLE {name} (id INTEGER PRIMARY KEY, machine TEXT NOT NULL, at {kinds})")
    return name


COLUMNS = {"id": "payload.id", "machine": "topic", "temp": "payload.t", "about": "payload.about"}


@pytest.mark.survives("core/sql-insert, core/sql-query", "SQLite; PostgreSQL 15 (Debian)", "malformed data")
async def test_rows_are_written_and_found(database, table):
    """Those that the database refuses are errors, the others are there; nothing of a message is read as SQL."""
    nasty = "x'); DROP TABLE t; --"
    async with drive(SqlInsert, database=database, table=table, columns=COLUMNS) as node:
        rows = [{"id": n, "t": n / 2, "about": {"n": [n]}} for n in range(100)]
        await node.put(
            *rows[:99], {"id": 5, "t": 1, "about": 1}, {"id": "no number", "t": [], "about": 1}, topic="press"
        )
        await node.put({"id": 500}, topic="press")
        await node.put(rows[99], topic=nasty)
        assert len(await node.sent()) == 100
        texts = [error["text"] for error in node.errors]
        assert len(texts) == 3 and "unique" in (texts[0] + texts[1]).lower() and "no payload.t" in texts[2]
    found = await run(database, f"SELECT count(*) AS n, sum(temp) AS total FROM {table}")
    assert found == [{"n": 100, "total": sum(n / 2 for n in range(100))}]
    assert await run(database, f"SELECT id FROM {table} WHERE machine = :machine", machine=nasty) == [{"id": 99}]
    config = {
        "database": database,
        "statement": f"SELECT id FROM {table} WHERE id < :most ORDER BY id",
        "output": "rows",
    }
    async with drive(SqlQuery, params={"most": "meta.most"}, **config) as node:
        await node.put(None, meta={"most": 3})
        assert await node.sent() == [{"id": 0}, {"id": 1}, {"id": 2}]
        await node.put(None)
        assert "most" in node.errors[-1]["text"]
    async with drive(SqlQuery, params={"most": "payload"}, max_rows=5, **config) as node:
        await node.put(50)
        assert "more than 5 rows" in node.errors[-1]["text"]
    change = f"UPDATE {table} SET temp = :t WHERE id < 10"
    async with drive(SqlQuery, database=database, statement=change, output="count") as node:
        await node.put({"t": 1})
        assert await node.sent() == [10]
    async with drive(SqlQuery, database=database, statement="SELEKT 1") as node:
        await node.put(None)
        assert "SELEKT" in node.errors[0]["text"]


async def test_a_row_that_is_there_is_left_or_written_over(database, table):
    for conflict, temp in (("ignore", 1.0), ("update", 2.0)):
        config = {"database": database, "table": table, "columns": COLUMNS, "conflict": conflict, "missing": "null"}
        async with drive(SqlInsert, key=["id"] if conflict == "update" else [], **config) as node:
            await node.put({"id": 1, "t": 1.0}, {"id": 1, "t": 2.0}, topic="press")
            assert len(await node.sent()) == 2 and not node.errors
        assert await run(database, f"SELECT temp, about FROM {table}") == [{"temp": temp, "about": None}]


@pytest.mark.survives(
    "core/sql-insert, core/sql-query", "SQLite; PostgreSQL 15 (Debian)", "peer restart", "wrong password"
)
async def test_messages_wait_while_postgresql_is_away(postgres):
    """Killed under load and started again: every row is there, once."""
    await run(postgres.config, "DROP TABLE IF EXISTS away")
    await run(postgres.config, "CREATE TABLE away (id INTEGER PRIMARY KEY, at TIMESTAMPTZ, price NUMERIC)")
    columns = {"id": "payload", "at": "meta.at", "price": "meta.price"}
    config = {"database": postgres.config, "table": "away", "columns": columns, "conflict": "ignore"}
    async with drive(SqlInsert, **config) as node:
        await node.put(*range(100), meta={"at": "2026-01-02T03:04:05+01:00", "price": 1.25})
        postgres.kill()
        putting = asyncio.create_task(node.put(*range(100, 300), meta={"at": 0, "price": "9.99"}))
        await node.wait_for(lambda: node.statuses and node.statuses[-1][1] == "error")
        assert not putting.done()
        await asyncio.to_thread(postgres.start)
        await putting
        assert len(await node.sent()) == 300 and node.statuses[-1][1] == "ok"
    found = await run(postgres.config, "SELECT count(*) AS n, min(at) AS first, max(price) AS most FROM away")
    assert found == [{"n": 300, "first": "1970-01-01T00:00:00+00:00", "most": 9.99}]
    async with drive(SqlInsert, **config | {"database": postgres.config | {"password": "wrong"}}) as node:
        putting = asyncio.create_task(node.put(1000, meta={"at": 0, "price": 1}))
        await node.wait_for(lambda: node.statuses and "password" in node.statuses[-1][0])
        assert len(node.errors) == 1
        putting.cancel()


@pytest.mark.survives("core/sql-insert, core/sql-query", "SQLite; PostgreSQL 15 (Debian)", "slow peer")
async def test_a_silent_postgresql_is_waited_for(postgres):
    """Stopped: rows and questions wait, none is refused. One that answers: the statement takes too long."""
    await run(postgres.config, "CREATE TABLE slow (id INTEGER PRIMARY KEY)")
    database = postgres.config | {"timeout_s": 0.5}
    config = {"database": database, "table": "slow", "columns": {"id": "payload"}, "conflict": "ignore"}
    async with (
        drive(SqlInsert, **config) as insert,
        drive(SqlQuery, database=database, statement="SELECT :n::int AS n", params={"n": "payload"}) as query,
        drive(SqlQuery, database=database, statement="SELECT pg_sleep(60)") as long,
    ):
        await insert.put(*range(5))
        await query.put(5)
        stopped = postgres.stop()
        putting = asyncio.gather(insert.put(*range(5, 50)), query.put(6))
        for one in (insert, query):
            await one.wait_for(lambda one=one: one.statuses[-1][1] == "error")
        for one in stopped:
            one.resume()
        await putting
        assert await insert.sent() == list(range(50)) and await query.sent() == [[{"n": 5}], [{"n": 6}]]
        assert [len(one.errors) for one in (insert, query)] == [1, 1] and insert.statuses[-1][1] == "ok"
        await long.put(None)
        assert "longer than 0.5 s" in long.errors[0]["text"] and not await long.sent()
    assert await run(postgres.config, "SELECT count(*) AS n FROM slow") == [{"n": 50}]
    others = "SELECT query FROM pg_stat_activity WHERE state = 'active' AND pid <> pg_backend_pid()"
    assert await run(postgres.config, others) == []


async def test_tls_checks_the_server(postgres):
    """The right certificate goes through, another one is told, a file that is none is named."""
    own = "SELECT ssl FROM pg_stat_ssl WHERE pid = pg_backend_pid()"
    trusted = postgres.config | {"tls": True, "tls_ca": str(postgres.certificate)}
    assert await run(trusted, own) == [{"ssl": True}] and await run(postgres.config, own) == [{"ssl": False}]
    async with drive(SqlQuery, database=postgres.config | {"tls": True}, statement=own) as node:
        asking = asyncio.create_task(node.put(None))
        await node.wait_for(lambda: "certificate verify failed" in str(node.statuses))
        asking.cancel()
    with pytest.raises(ValueError, match=r"tls_ca.*missing\.pem"):
        await run(trusted | {"tls_ca": str(postgres.folder / "missing.pem")}, own)


async def test_what_is_needed_is_made_at_the_connect(database):
    """Each time a node connects."""
    setup = "CREATE TABLE IF NOT EXISTS made (id INTEGER PRIMARY KEY); CREATE INDEX IF NOT EXISTS made_id ON made (id)"
    for n in range(2):
        config = {"database": database | {"setup": setup}, "table": "made", "columns": {"id": "payload"}}
        async with drive(SqlInsert, **config) as node:
            await node.put(n)
            assert await node.sent() == [n] and not node.errors
    async with drive(SqlQuery, database=database | {"setup": "CREATE RUBBISH"}, statement="SELECT 1") as node:
        await node.put(None)
        assert "RUBBISH" in node.errors[0]["text"]


async def test_a_statement_that_takes_too_long_is_stopped(tmp_path):
    endless = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT count(*) FROM n"
    database = {"kind": "sqlite", "file": str(tmp_path / "a.db"), "timeout_s": 0.2}
    async with drive(SqlQuery, database=database, statement=endless) as node:
        await node.put(None)
        assert "longer than 0.2 s" in node.errors[0]["text"]


def test_parameters_are_told_from_texts_and_casts():
    statement = """SELECT ':no', "a:no", x::text, :yes -- :no
        /* :no */ FROM t WHERE a = :also AND b = :yes"""
    assert names_of(statement) == ["yes", "also"]
    assert issubclass(Refused, ValueError)


@pytest.mark.parametrize(
    ("config", "why"),
    [
        ({"table": "t; DROP"}, "a table is a name"),
        ({"columns": {"a b": "payload"}}, "no name of a column"),
        ({"conflict": "update"}, "needs a key"),
        ({"key": ["x"]}, "none of columns"),
        ({"database": {"kind": "sqlite"}}, "sqlite needs a file"),
        ({"database": {"kind": "postgresql"}}, "needs a user"),
    ],
)
async def test_wrong_settings_are_refused(config, why):
    good = {"database": {"file": "x.db"}, "table": "t", "columns": {"a": "payload"}}
    with pytest.raises(ValueError, match=why):
        async with drive(SqlInsert, **good | config):
            pass
