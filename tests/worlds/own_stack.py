"""An embedded stack that tests may kill: its processes, what it holds and where it listens."""

import json
import subprocess
from pathlib import Path
from typing import Any

import psycopg

from pipelines.local import stack as embedded
from resources.local_stack import EmbeddedStack
from resources.s3.client import S3Resource

LOOPBACK = {"0100007F", "00000000000000000000000001000000", "0000000000000000FFFF00000100007F"}
LISTENS = "0A"


def pids(home: Path) -> dict[str, int | None]:
    return {server.process.name: server.process.pid() for server in embedded._Settings.of(home).servers(home)}


def bucket(stack: EmbeddedStack) -> S3Resource:
    return S3Resource(
        bucket="cippus",
        endpoint_url=stack.s3_endpoint,
        access_key_id=stack.s3_access_key_id,
        secret_access_key=stack.s3_secret_access_key,
    )


def remember(stack: EmbeddedStack, value: str) -> None:
    """Store a value in both servers. Postgres has committed it when the connection closes."""
    with psycopg.connect(stack.postgres_dsn) as connection:
        connection.execute("TRUNCATE accounts")
        connection.execute("INSERT INTO accounts (account_id) VALUES (%s)", (value,))
    bucket(stack).put("memory", value.encode())


def remembered(stack: EmbeddedStack) -> tuple[list[str], bytes | None]:
    with psycopg.connect(stack.postgres_dsn) as connection:
        accounts = [row[0] for row in connection.execute("SELECT account_id FROM accounts").fetchall()]
    return accounts, bucket(stack).get("memory")


def listening(pid: int) -> set[tuple[str, int]]:
    """Return (address in hexadecimal, port) of every listening or datagram socket of a process."""
    links = (str(found.readlink()) for found in Path(f"/proc/{pid}/fd").iterdir())
    inodes = {link[len("socket:[") : -1] for link in links if link.startswith("socket:[")}
    found = set()
    for table in ("tcp", "tcp6", "udp", "udp6"):
        for line in Path(f"/proc/net/{table}").read_text().splitlines()[1:]:
            columns = line.split()
            if columns[9] in inodes and (columns[3] == LISTENS or table.startswith("udp")):
                address, port = columns[1].split(":")
                found.add((address, int(port, 16)))
    return found


def tried_by_another_user(python: str, there: dict[str, Any]) -> dict[str, Any]:
    """What another user of the machine could do with what is there, as ``tests/worlds/other_user.py`` says."""
    done = subprocess.run(
        [python, "-c", Path(__file__).with_name("other_user.py").read_text()],
        input=json.dumps(there),
        capture_output=True,
        check=True,
        text=True,
        cwd="/",
        user=54321,
        group=54321,
        extra_groups=[],
    )
    could: dict[str, Any] = json.loads(done.stdout)
    return could
