"""The embedded stack of one home folder: Postgres and S3, started on demand and found again."""

import fcntl
import json
import secrets
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from pipelines.local.open_files import require_open_files
from pipelines.local.postgres_server import PostgresServer
from pipelines.local.s3_server import PORT_NAMES, S3Server
from pipelines.local.server_process import becomes_free, free_ports
from resources.local_stack import EmbeddedStack, private_home, write_private
from resources.s3.governor import process

STACK_FILE = "stack.json"
DATASET_FILE = "dataset.txt"
"""The name of the data set in the home (pipelines/samples/dataset.py)."""
_SETTINGS_FILE = "settings.json"


@dataclass(frozen=True)
class _Settings:
    """Secrets and ports of a home. They survive restarts, so that a running UI finds the servers again."""

    postgres_password: str
    s3_access_key_id: str
    s3_secret_access_key: str
    postgres_port: int
    s3_ports: tuple[int, ...]

    @classmethod
    def of(cls, home: Path) -> "_Settings":
        """Read the settings of a home. Create them if there are none."""
        path = home / _SETTINGS_FILE
        if path.exists():
            stored = json.loads(path.read_text())
            return cls(**{**stored, "s3_ports": tuple(stored["s3_ports"])})
        port, *s3_ports = free_ports(1 + len(PORT_NAMES))
        settings = cls(
            secrets.token_urlsafe(24), secrets.token_hex(10), secrets.token_urlsafe(30), port, tuple(s3_ports)
        )
        settings.write(home)
        return settings

    def write(self, home: Path) -> None:
        write_private(home / _SETTINGS_FILE, json.dumps(asdict(self), indent=2))

    def servers(self, home: Path) -> tuple[PostgresServer, S3Server]:
        return (
            PostgresServer(home, self.postgres_port, self.postgres_password),
            S3Server(home, self.s3_ports, self.s3_access_key_id, self.s3_secret_access_key),
        )


def up(home: Path) -> EmbeddedStack:
    """Start what is not running, and return the addresses. Raise ServerError if a server does not start.

    Ports stay the same unless another program took one meanwhile.
    """
    require_open_files()
    home = private_home(home.resolve())
    (home / "logs").mkdir(exist_ok=True)
    with _exclusively(home):
        settings = _Settings.of(home)
        postgres, s3 = settings.servers(home)
        if not postgres.is_running():
            postgres.stop()
            if not becomes_free(settings.postgres_port):
                settings = replace(settings, postgres_port=free_ports(1)[0])
        if not s3.is_running():
            s3.stop()
            if s3.is_blocked() or not all(becomes_free(port) for port in settings.s3_ports):
                settings = replace(settings, s3_ports=tuple(free_ports(len(PORT_NAMES))))
        settings.write(home)
        postgres, s3 = settings.servers(home)
        for server in (postgres, s3):
            if server.process.pid() is None:
                server.start()
        stack = EmbeddedStack(postgres.dsn(), s3.endpoint, s3.access_key_id, s3.secret_access_key)
        stack.write(home / STACK_FILE)
        return stack


def revive(home: Path) -> EmbeddedStack:
    """Restart dead servers of a stack that is up. Raise StackNotUpError if it was stopped or never started."""
    EmbeddedStack.read(home.resolve() / STACK_FILE)
    return up(home)


def down(home: Path) -> None:
    """Stop the servers and the home's request governors. Data, secrets and ports stay. Idempotent."""
    home = home.resolve()
    if not (home / _SETTINGS_FILE).exists():  # S3 is elsewhere
        process.stop_all(home / process.HOME_FOLDER)
        return
    with _exclusively(home):
        _stop(home)


def wipe(home: Path) -> None:
    """Stop the servers and delete the data of the lineage and its source. Secrets, ports and run history stay."""
    home = home.resolve()
    if not home.exists():
        return
    with _exclusively(home):
        _stop(home)
        for name in ("postgres", "s3", "qdrant"):
            if (home / name).exists():
                shutil.rmtree(home / name)
        (home / DATASET_FILE).unlink(missing_ok=True)


def _stop(home: Path) -> None:
    process.stop_all(home / process.HOME_FOLDER)
    (home / STACK_FILE).unlink(missing_ok=True)
    if (home / _SETTINGS_FILE).exists():
        postgres, s3 = _Settings.of(home).servers(home)
        s3.stop()
        postgres.stop()


def s3_server(home: Path) -> S3Server:
    """Return the embedded S3 of a home that has one."""
    return _Settings.of(home.resolve()).servers(home.resolve())[1]


@contextmanager
def s3_without_clients(home: Path) -> Iterator[S3Server]:
    """Restart the embedded S3 without its gateway, so that no client reaches it, and with it at the end.

    Clients wait until it is back.
    """
    server = s3_server(home)
    with _exclusively(home):
        server.stop()
        try:
            server.start_without_gateway()
            yield server
        finally:
            server.stop()
            server.start()


def status(home: Path) -> dict[str, bool]:
    """Return part → whether it runs and answers."""
    home = home.resolve()
    if not (home / _SETTINGS_FILE).exists():
        return {"postgres": False, "s3": False}
    postgres, s3 = _Settings.of(home).servers(home)
    return {"postgres": postgres.is_running(), "s3": s3.is_running()}


@contextmanager
def _exclusively(home: Path) -> Iterator[None]:
    """Wait for the home's stack lock and hold it, so that two `up`s start one stack."""
    with (home / "stack.lock").open("a") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield
