"""One write and one read of each of the five clients, with the client's default settings."""

import json
import logging
import os
import sys
import warnings
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import boto3
import obstore
import polars as pl
import s3fs
from botocore.config import Config
from deltalake import DeltaTable, write_deltalake
from obstore.store import S3Store

from tests.benchmarks.throttle_load import (
    ACCESS_KEY_ID,
    BUCKET,
    REGION,
    SECRET_ACCESS_KEY,
    AsyncClient,
    Client,
    Door,
    ThreadedClient,
    content,
    expect,
    frame,
)

if TYPE_CHECKING:
    from obstore.store import ClientConfig

RACE = "race"


class Boto3Client(ThreadedClient):
    """boto3 from 32 threads; its default retries are the legacy ones, its default pool has 10 connections."""

    workers = read_workers = 32

    def __init__(self, door: Door) -> None:
        super().__init__(door)
        logging.getLogger("urllib3").setLevel(logging.ERROR)  # 32 threads on the default pool of 10
        self._s3 = boto3.client(
            "s3",
            endpoint_url=door.endpoint,
            aws_access_key_id=ACCESS_KEY_ID,
            aws_secret_access_key=SECRET_ACCESS_KEY,
            region_name=REGION,
            config=Config(**door.botocore_config()),
        )

    def write(self, name: str) -> None:
        """PutObject."""
        self._s3.put_object(Bucket=BUCKET, Key=name, Body=content(name))

    def read(self, target: Any) -> None:
        """GetObject."""
        expect(self._s3.get_object(Bucket=BUCKET, Key=target)["Body"].read() == content(target), target)


class S3fsClient(AsyncClient):
    """s3fs, 64 calls at a time."""

    workers = 64

    async def open(self) -> None:
        """Make the session on the loop."""
        self._fs = s3fs.S3FileSystem(
            asynchronous=True,
            key=ACCESS_KEY_ID,
            secret=SECRET_ACCESS_KEY,
            endpoint_url=self.door.endpoint,
            client_kwargs={"region_name": REGION},
            config_kwargs=self.door.botocore_config(),
            skip_instance_cache=True,
        )
        await self._fs.set_session()

    async def write(self, name: str) -> None:
        """Put a small file."""
        await self._fs._pipe_file(f"{BUCKET}/{name}", content(name))

    async def read(self, target: Any) -> None:
        """Get a small file."""
        expect(await self._fs._cat_file(f"{BUCKET}/{target}") == content(target), target)


class ObstoreClient(AsyncClient):
    """obstore, 64 calls at a time."""

    workers = 64

    async def open(self) -> None:
        """Make the store."""
        proxied: ClientConfig = {"proxy_url": self.door.proxy} if self.door.proxy else {}
        self._store = S3Store(
            BUCKET,
            endpoint=self.door.object_store_endpoint,
            access_key_id=ACCESS_KEY_ID,
            secret_access_key=SECRET_ACCESS_KEY,
            region=REGION,
            virtual_hosted_style_request=self.door.virtual_host,
            client_options={"allow_http": True, **proxied},
        )

    async def write(self, name: str) -> None:
        """Put a small object; not as the multipart upload that is obstore's default for bodies above 5 MiB."""
        await obstore.put_async(self._store, name, content(name))

    async def read(self, target: Any) -> None:
        """Get a small object."""
        answer = await obstore.get_async(self._store, target)
        expect(bytes(await answer.bytes_async()) == content(target), target)


class PolarsClient(ThreadedClient):
    """polars from 32 threads: ``write_parquet`` of small files; scans of 16 of them from 8 threads."""

    workers, read_workers, objects_a_read = 32, 8, 16

    def write(self, name: str) -> None:
        """One Parquet file."""
        frame(name).write_parquet(f"s3://{BUCKET}/{name}", storage_options=self.door.storage_options())

    def targets(self, written: list[str]) -> list[Any]:
        """Groups of files."""
        size = self.objects_a_read
        return [written[at : at + size] for at in range(0, len(written) - size + 1, size)]

    def read(self, target: Any) -> None:
        """One scan of a group."""
        paths = [f"s3://{BUCKET}/{name}" for name in target]
        found = pl.scan_parquet(paths, storage_options=self.door.storage_options()).collect()
        expect(found.sort("name", "row").equals(pl.concat([frame(n) for n in target]).sort("name", "row")), str(target))


class DeltalakeClient(ThreadedClient):
    """deltalake from 16 threads: appends to a table each, then whole tables read.

    A process that races (its prefixes name the race's table) has four threads append to that one table.
    """

    workers = read_workers = 16

    def __init__(self, door: Door) -> None:
        super().__init__(door)
        self._races = door.prefixes[0].endswith(RACE)
        if self._races:
            self.workers = 4
        self._appended: dict[str, set[str]] = {}

    def name(self, worker: int, number: int) -> str:
        """table#append."""
        prefix = self.door.prefixes[worker % len(self.door.prefixes)]
        table = prefix if self._races else f"{prefix}/table-{self.door.process}-{worker}"
        return f"{table}#{self.door.process}-{worker}-{number}"

    def targets(self, written: list[str]) -> list[Any]:
        """Tables."""
        for name in written:
            self._appended.setdefault(name.partition("#")[0], set()).add(name)
        return sorted(self._appended)

    def write(self, name: str) -> None:
        """One append of a few rows."""
        path = f"s3://{BUCKET}/{name.partition('#')[0]}"
        write_deltalake(path, frame(name), mode="append", storage_options=self.door.storage_options())

    def read(self, target: Any) -> None:
        """All rows of a table, each append's once."""
        names = delta_appends(target, self.door.storage_options())
        expect(all(names.get(name) == 1 for name in self._appended[target]), target)


def delta_appends(table: str, storage_options: dict[str, str]) -> dict[str, int]:
    """Return how often each append is in a Delta table."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        found = DeltaTable(f"s3://{BUCKET}/{table}", storage_options=storage_options).to_pyarrow_table(columns=["name"])
    rows = pl.DataFrame(found).group_by("name").len()
    per_append = frame("").height
    return {name: -1 if count % per_append else count // per_append for name, count in rows.iter_rows()}


CLIENTS: dict[str, type[Client]] = {
    "boto3": Boto3Client,
    "s3fs": S3fsClient,
    "polars": PolarsClient,
    "deltalake": DeltalakeClient,
    "obstore": ObstoreClient,
}


def main() -> None:
    """Prepare the client, print a line, and run the phases that standard input names."""
    given = json.loads(sys.argv[1])
    door = Door(**{**given, "prefixes": tuple(given["prefixes"])})
    client = CLIENTS[door.client](door)
    written: list[str] = []
    print("{}", flush=True)  # noqa: T201 - the protocol
    for line in sys.stdin:
        phase = json.loads(line)
        result = client.run(phase["phase"] == "write", phase["seconds"], written)
        written += result.written
        print(json.dumps(asdict(result)), flush=True)  # noqa: T201 - the protocol
    os._exit(0)  # threads that never came back would keep the process


if __name__ == "__main__":
    main()
