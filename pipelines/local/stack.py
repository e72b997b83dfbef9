"""The embedded stack of one home folder: Postgres and S3, started on demand and found again."""

import fcntl
import json
import secrets
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path

from pipelines.local.postgres_server import PostgresServer
from pipelines.local.s3_server import PORT_NAMES, S3Server
from pipelines.local.server_process import becomes_free, free_ports
from resources.local_stack import EmbeddedStack
from resources.s3.governor import process

STACK_FILE = "stack.json"
DATASET_FILE = "dataset.txt"
"""Says which data set the home holds (dataset.py)."""
_SETTINGS_FILE = "settings.json"


@dataclass(frozen=True)
class _Settings:
    """What a home keeps over restarts: secrets made for it, and its ports, so that a running UI finds them again."""

    postgres_password: str
    s3_access_key_id: str
    s3_secret_access_key: str
    postgres_port: int
    s3_ports: tuple[int, ...]

    @classmethod
    def of(cls, home: Path) -> "_Settings":
        path = home / _SETTINGS_FILE
        if path.exists():
            kept = json.loads(path.read_text())
            return cls(**{**kept, "s3_ports": tuple(kept["s3_ports"])})
        ports = free_ports(1 + len(PORT_NAMES))
        made = cls(
            secrets.token_urlsafe(24), secrets.token_hex(10), secrets.token_urlsafe(30), ports[0], tuple(ports[1:])
        )
        made.write(path)
        return made

    def write(self, path: Path) -> None:
        temporary = path.with_suffix(".tmp")
        temporary.touch(mode=0o600)
        temporary.write_text(json.dumps(asdict(self), indent=2))
        temporary.replace(path)

    def servers(self, home: Path) -> tuple[PostgresServer, S3Server]:
        return (
            PostgresServer(home, self.postgres_port, self.postgres_password),
            S3Server(home, self.s3_ports, self.s3_access_key_id, self.s3_secret_access_key),
        )


def up(home: Path) -> EmbeddedStack:
    """Start what is not running, and say where everything is. Raises ServerError when a server does not start.

    Ports stay what they were; where another program has taken one meanwhile, new ones are chosen.
    """
    home = home.resolve()
    (home / "logs").mkdir(parents=True, exist_ok=True)
    with _exclusively(home):
        settings = _Settings.of(home)
        postgres, s3 = settings.servers(home)
        if not postgres.is_running():
            postgres.stop()
            if not becomes_free(settings.postgres_port):
                settings = _with_new_ports(settings, postgres=True)
                settings.write(home / _SETTINGS_FILE)
                postgres, s3 = settings.servers(home)
            postgres.start()
        if not s3.is_running():
            s3.stop()
            if not all(becomes_free(port) for port in settings.s3_ports):
                settings = _with_new_ports(settings, postgres=False)
                settings.write(home / _SETTINGS_FILE)
                _, s3 = settings.servers(home)
            s3.start()
        stack = EmbeddedStack(postgres.dsn(), s3.endpoint, s3.access_key_id, s3.secret_access_key)
        stack.write(home / STACK_FILE)
        return stack


def revive(home: Path) -> EmbeddedStack:
    """Restart what died of a stack that should be up; raises StackNotUpError when it was never started or stopped."""
    EmbeddedStack.read(home.resolve() / STACK_FILE)
    return up(home)


def down(home: Path) -> None:
    """Stop the servers and the home's request governors; data, secrets and ports stay.

    Stopping what is not running is no error.
    """
    home = home.resolve()
    if not (home / _SETTINGS_FILE).exists():  # S3 is elsewhere
        process.stop_all(home / process.HOME_FOLDER)
        return
    with _exclusively(home):
        _stop(home)


def wipe(home: Path) -> None:
    """Stop the servers and delete what the lineage and its source hold; secrets, ports and run history stay."""
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
    """The embedded S3 of a home that has one."""
    return _Settings.of(home.resolve()).servers(home.resolve())[1]


@contextmanager
def s3_without_clients(home: Path) -> Iterator[S3Server]:
    """The embedded S3 while nobody can reach it: whatever was under way has ended, and nothing begins.

    Others who find it gone wait until it is back.
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
    """Part → whether it runs and answers."""
    home = home.resolve()
    if not (home / _SETTINGS_FILE).exists():
        return {"postgres": False, "s3": False}
    postgres, s3 = _Settings.of(home).servers(home)
    return {"postgres": postgres.is_running(), "s3": s3.is_running()}


def _with_new_ports(settings: _Settings, *, postgres: bool) -> _Settings:
    if postgres:
        return _Settings(**{**asdict(settings), "postgres_port": free_ports(1)[0]})
    return _Settings(**{**asdict(settings), "s3_ports": tuple(free_ports(len(PORT_NAMES)))})


@contextmanager
def _exclusively(home: Path) -> Iterator[None]:
    """Hold the home's stack lock, waiting for it: two `up`s start one stack."""
    with (home / "stack.lock").open("a") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield
