"""A Redshift that speaks the Data API's JSON on loopback, runs each UNLOAD on a Postgres and writes it to a real S3."""

import contextlib
import io
import json
import re
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from itertools import count
from typing import Any

import psycopg
import pyarrow as pa
import pyarrow.parquet as pq

from resources.s3.client import S3Resource

FAULTS = (
    "failed", "slow down", "aborted", "throttled", "expired token", "denied", "busy", "stuck", "lost file", "cut file",
    "lost manifest",
)  # fmt: skip
_UNLOAD = re.compile(
    r"UNLOAD \('((?:[^']|'')*)'\) TO '([^']*)' IAM_ROLE (default|'[^']*') FORMAT PARQUET MANIFEST VERBOSE"
)
_TYPES = {
    "text": ("varchar", pa.string()),
    "ARRAY": ("super", pa.string()),
    "bigint": ("int8", pa.int64()),
    "smallint": ("int2", pa.int16()),
    "integer": ("int4", pa.int32()),
    "timestamp with time zone": ("timestamptz", pa.timestamp("us", tz="UTC")),
}
"""Type of the Postgres behind it → Redshift's word for it, and the Arrow type of an unloaded column."""
_REFUSALS = {
    "throttled": (400, "ThrottlingException", "Rate exceeded"),
    "expired token": (400, "ExpiredTokenException", "The security token included in the request is expired"),
    "denied": (400, "AccessDeniedException", "User is not authorized to perform redshift-data:ExecuteStatement"),
    "busy": (400, "ActiveStatementsExceededException", "Active statements exceeded the allowed quota (500)."),
}
_ENDINGS = {
    "failed": ("FAILED", 'ERROR: permission denied for relation "posts"'),
    "slow down": ("FAILED", "ERROR: S3ServiceException:Please reduce your request rate.,Status 503,Error SlowDown"),
    "aborted": ("ABORTED", "Query cancelled by WLM abort action of Query Monitoring Rule"),
}


@dataclass
class Statement:
    """One statement: what it ends as, and how often it was asked for."""

    status: str
    error: str
    asked: int = 0


@dataclass
class Redshift:
    """The warehouse: ``faults`` are met by calls and statements until they are taken out; ``unloads`` are those run."""

    dsn: str
    s3: S3Resource
    url: str = ""
    faults: set[str] = field(default_factory=set)
    calls: list[tuple[str, dict[str, Any]]] = field(default_factory=list)
    unloads: list[str] = field(default_factory=list)
    cancelled: list[str] = field(default_factory=list)
    statements: dict[str, Statement] = field(default_factory=dict)
    tokens: dict[str, str] = field(default_factory=dict)
    time: Callable[[], str] = lambda: str(datetime.now(UTC).timestamp())
    lock: threading.Lock = field(default_factory=threading.Lock)
    numbers: Iterator[int] = field(default_factory=count)

    @contextmanager
    def suffering(self, fault: str) -> Iterator[None]:
        """One fault for a while."""
        assert fault in FAULTS
        self.faults.add(fault)
        try:
            yield
        finally:
            self.faults.discard(fault)

    def forget_tokens(self) -> None:
        """What the API does by itself some hours after a statement: the same token is another statement then."""
        with self.lock:
            self.tokens.clear()

    def answer(self, operation: str, asked: dict[str, Any]) -> tuple[int, dict[str, Any]]:
        """A status and a JSON body."""
        self.calls.append((operation, asked))
        for fault, (status, code, message) in _REFUSALS.items():
            if fault in self.faults:
                return status, {"__type": code, "message" if code != "AccessDeniedException" else "Message": message}
        return 200, getattr(self, f"_{operation}")(asked)

    def _ExecuteStatement(self, asked: dict[str, Any]) -> dict[str, Any]:  # noqa: N802 - the API's name
        assert len(asked["ClientToken"]) <= 64
        if asked["ClientToken"] not in self.tokens:
            identity = self.tokens[asked["ClientToken"]] = f"00000000-0000-4000-8000-{next(self.numbers):012d}"
            self.statements[identity] = self._run(asked["Sql"])
        return {"Id": self.tokens[asked["ClientToken"]]}

    def _DescribeStatement(self, asked: dict[str, Any]) -> dict[str, Any]:  # noqa: N802
        statement = self.statements[asked["Id"]]
        statement.asked += 1
        stages = ("SUBMITTED", "STARTED")
        if "stuck" in self.faults or statement.asked <= len(stages):
            return {"Id": asked["Id"], "Status": stages[min(statement.asked, len(stages)) - 1]}
        return {
            "Id": asked["Id"],
            "Status": statement.status,
            **({"Error": statement.error} if statement.error else {}),
        }

    def _GetStatementResult(self, asked: dict[str, Any]) -> dict[str, Any]:  # noqa: N802
        assert self.statements[asked["Id"]].status == "FINISHED"
        return {"Records": [[{"stringValue": self.time()}]], "TotalNumRows": 1}

    def _CancelStatement(self, asked: dict[str, Any]) -> dict[str, Any]:  # noqa: N802
        self.cancelled.append(asked["Id"])
        return {"Status": True}

    def _DescribeTable(self, asked: dict[str, Any]) -> dict[str, Any]:  # noqa: N802
        """In pages of six columns."""
        columns = [
            {"name": name, "typeName": _TYPES[found][0], "schemaName": "public", "tableName": asked["Table"]}
            for name, found in self._columns(asked["Table"]).items()
        ]
        first = int(asked.get("NextToken", "0"))
        more = {"NextToken": str(first + 6)} if first + 6 < len(columns) else {}
        return {"ColumnList": columns[first : first + 6], "TableName": asked["Table"], **more}

    def _columns(self, table: str) -> dict[str, str]:
        with psycopg.connect(self.dsn) as connection:
            rows = connection.execute(
                "SELECT column_name, data_type FROM information_schema.columns "
                "WHERE table_schema = 'public' AND table_name = %s ORDER BY ordinal_position",
                (table,),
            ).fetchall()
        return dict(rows)

    def _run(self, sql: str) -> Statement:
        if sql == "SELECT extract(epoch FROM getdate()::timestamptz)::varchar(32)":
            return Statement("FINISHED", "")
        found = _UNLOAD.fullmatch(sql)
        if found is None:
            return Statement("FAILED", f"ERROR: syntax error at or near {sql[:20]!r}")
        self.unloads.append(sql)
        for fault, (status, error) in _ENDINGS.items():
            if fault in self.faults:
                return Statement(status, error)
        query, to = found.group(1).replace("''", "'"), found.group(2)
        prefix = to.removeprefix(self.s3.uri(""))
        if any(self.s3.list_objects(prefix)):
            return Statement("FAILED", f"ERROR: Specified unload destination on S3 is not empty: {to}")
        try:
            self._unload(query, prefix)
        except psycopg.Error as error:
            return Statement("FAILED", f"ERROR: {error}")
        return Statement("FINISHED", "")

    def _unload(self, query: str, prefix: str) -> None:
        """Two files, as from two slices, and a manifest; of no rows, nothing."""
        table = re.search(r'FROM "public"\."(\w+)"', query)
        types = self._columns(table.group(1)) if table else {}
        with psycopg.connect(self.dsn) as connection, connection.cursor() as cursor:
            cursor.execute(query.encode())
            names = [column.name for column in cursor.description or ()]
            rows = cursor.fetchall()
        schema = pa.schema([(name, _TYPES[types[name]][1]) for name in names])
        entries = []
        for number, some in enumerate((rows[::2], rows[1::2])):
            if some:
                entries.append(self._put_file(f"{prefix}{number:04d}_part_00.parquet", schema, some))
        meta = {name: sum(entry["meta"][name] for entry in entries) for name in ("content_length", "record_count")}
        if entries and "lost manifest" not in self.faults:
            elements = [{"name": field.name, "type": {"base": str(field.type)}} for field in schema]
            manifest = {"entries": entries, "schema": {"elements": elements}, "meta": meta}
            self.s3.put_json(f"{prefix}manifest", {**manifest, "author": {"name": "Amazon Redshift"}})
        if "lost file" in self.faults:
            self.s3.delete([f"{prefix}0000_part_00.parquet"])
        if "cut file" in self.faults:
            self.s3.put(f"{prefix}0000_part_00.parquet", b"PAR1")

    def _put_file(self, key: str, schema: pa.Schema, rows: list[tuple[Any, ...]]) -> dict[str, Any]:
        columns = [
            pa.array([json.dumps(value) if isinstance(value, list) else value for value in values], found.type)
            for values, found in zip(zip(*rows, strict=True), schema, strict=True)
        ]
        buffer = io.BytesIO()
        pq.write_table(pa.table(columns, schema=schema), buffer)
        self.s3.put(key, buffer.getvalue())
        meta = {"content_length": buffer.getbuffer().nbytes, "record_count": len(rows)}
        return {"url": self.s3.uri(key), "meta": meta}


class _Handler(BaseHTTPRequestHandler):
    warehouse: Redshift

    def do_POST(self) -> None:
        asked = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        assert self.headers["Authorization"].startswith("AWS4-HMAC-SHA256 ")
        with self.warehouse.lock:
            status, body = self.warehouse.answer(self.headers["X-Amz-Target"].removeprefix("RedshiftData."), asked)
        payload = json.dumps(body).encode()
        with contextlib.suppress(ConnectionError):
            self.send_response(status)
            self.send_header("Content-Type", "application/x-amz-json-1.1")
            self.send_header("Content-Length", str(len(payload)))
            self.end_headers()
            self.wfile.write(payload)

    def log_message(self, *_: object) -> None:
        """Quietly."""


@contextmanager
def running(dsn: str, s3: S3Resource) -> Iterator[Redshift]:
    """A warehouse on a port of its own, stopped afterwards."""
    warehouse = Redshift(dsn, s3)
    server = ThreadingHTTPServer(("127.0.0.1", 0), type("Handler", (_Handler,), {"warehouse": warehouse}))
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    warehouse.url = f"http://127.0.0.1:{server.server_port}"
    try:
        yield warehouse
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
