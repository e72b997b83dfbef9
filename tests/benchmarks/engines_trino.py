"""Trino as a judge, the engine of Athena: a server of one node on loopback, over a folder of tables."""

import os
import shutil
import subprocess
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx

from pipelines.local.server_process import free_ports
from resources.errors import PermanentFailure
from tests.benchmarks.engines_figures import REFUSED, Answer

_HOME, _JAVA = os.environ.get("TRINO_HOME", ""), os.environ.get("TRINO_JAVA", "java")
_SECONDS_TO_START = 300
_JVM = (
    "-Xmx2G",
    "--add-modules=jdk.incubator.vector",
    "--enable-native-access=ALL-UNNAMED",
    "--sun-misc-unsafe-memory-access=allow",
    "-XX:+EnableDynamicAgentLoading",
)


class TrinoError(PermanentFailure):
    """Trino did not start; the message has its last lines."""


def missing() -> str:
    """Return what Trino needs and this machine does not have; blank if nothing."""
    if not _HOME or not (Path(_HOME) / "plugin" / "delta-lake").is_dir():
        return "Trino is left out: TRINO_HOME is not the folder of an unpacked trino-server (476 was tried)."
    return "" if shutil.which(_JAVA) else f"Trino is left out: TRINO_JAVA is {_JAVA}, which is no Java 24 or newer."


def ask(folder: Path, tables: Mapping[str, str], queries: Sequence[str]) -> list[Answer]:
    """Return Trino's answers. ``tables``: name → path below ``folder``."""
    with _server(folder) as port:
        _answer(port, "CREATE SCHEMA delta.lake")
        for name, path in tables.items():
            _answer(port, f"CALL delta.system.register_table('lake', '{name}', 'local:///{path}')")
        return [_answer(port, query) for query in queries]


@contextmanager
def _server(folder: Path) -> Iterator[int]:
    """Start a server over a folder and yield its port. Its own files lie in the folder too."""
    [port] = free_ports(1)
    etc, data = folder / "trino" / "etc", folder / "trino" / "data"
    (etc / "catalog").mkdir(parents=True)
    (folder / "trino" / "plugin").mkdir()
    (folder / "trino" / "plugin" / "delta-lake").symlink_to(Path(_HOME).resolve() / "plugin" / "delta-lake")
    catalog = {
        "connector.name": "delta_lake",
        "hive.metastore": "file",
        "hive.metastore.catalog.dir": "local:///metastore",
        "fs.native-local.enabled": "true",
        "local.location": folder,
        "delta.register-table-procedure.enabled": "true",
    }
    config = {
        "coordinator": "true",
        "node-scheduler.include-coordinator": "true",
        "http-server.http.port": port,
        "discovery.uri": f"http://127.0.0.1:{port}",
        "plugin.dir": folder / "trino" / "plugin",
    }
    _write(etc / "catalog" / "delta.properties", catalog)
    _write(etc / "config.properties", config)
    here = {"node.bind-ip": "127.0.0.1", "node.internal-address": "127.0.0.1"}
    node = {"node.environment": "bench", "node.id": "one", "node.data-dir": data, **here}
    _write(etc / "node.properties", node)
    named = {"config": etc / "config.properties", **node, "catalog.config-dir": etc / "catalog"}
    options = [f"-D{name}={value}" for name, value in named.items()]
    program = [_JAVA, *_JVM, "-cp", f"{_HOME}/lib/*", *options, "io.trino.server.TrinoServer"]
    with (folder / "trino" / "log").open("wb") as log:
        server = subprocess.Popen(program, cwd=folder / "trino", stdout=log, stderr=log)
        try:
            _wait(server, port, folder / "trino" / "log")
            yield port
        finally:
            server.kill()
            server.wait()


def _write(file: Path, properties: Mapping[str, Any]) -> None:
    file.write_text("".join(f"{name}={value}\n" for name, value in properties.items()))


def _wait(server: "subprocess.Popen[bytes]", port: int, log: Path) -> None:
    for _ in range(_SECONDS_TO_START):
        if server.poll() is not None:
            break
        try:
            if not httpx.get(f"http://127.0.0.1:{port}/v1/info").json()["starting"]:
                return
        except httpx.TransportError:
            pass
        time.sleep(1)
    raise TrinoError("Trino does not start:\n" + "\n".join(log.read_text(errors="replace").splitlines()[-20:]))


def _answer(port: int, query: str) -> Answer:
    """Return the rows of a query as text, or the reason why there are none."""
    with httpx.Client(headers={"X-Trino-User": "bench"}, timeout=300) as client:
        page = client.post(f"http://127.0.0.1:{port}/v1/statement", content=query).json()
        rows: list[list[str | None]] = []
        while True:
            if "error" in page:
                return [[REFUSED, str(page["error"]["message"])]]
            rows += [[None if value is None else str(value) for value in row] for row in page.get("data", ())]
            if "nextUri" not in page:
                return rows
            page = client.get(page["nextUri"]).json()
