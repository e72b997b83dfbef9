"""The five S3 clients as the governor's tests use them: one way to put, get, list, delete and put in parts for each."""

import asyncio
import io
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

import boto3
import numpy as np
import obstore
import polars as pl
import s3fs
from botocore.config import Config
from deltalake import DeltaTable, write_deltalake
from obstore.store import S3Store

if TYPE_CHECKING:
    from obstore.store import ClientConfig, RetryConfig

KEY, SECRET, BUCKET, REGION = "test-key", "test-secret", "bench", "us-east-1"
PART = 5 << 20


@dataclass(frozen=True)
class Way:
    """How a client goes: through which proxy, with which addressing, and how often it tries for itself."""

    proxy: str
    virtual: bool = False
    host: str = "s3.test.invalid"

    def botocore(self) -> dict[str, Any]:
        """For boto3 and s3fs."""
        style = "virtual" if self.virtual else "path"
        return {
            "proxies": {"http": self.proxy}, "s3": {"addressing_style": style},
            "retries": {"mode": "standard", "total_max_attempts": 1},
        }  # fmt: skip

    def endpoint(self) -> str:
        """For the object_store family, which wants the bucket in it for virtual-host style."""
        return f"http://{BUCKET}.{self.host}" if self.virtual else f"http://{self.host}"

    def options(self) -> dict[str, str]:
        """For deltalake, and but for numbers for polars."""
        return {
            "aws_endpoint_url": self.endpoint(), "aws_access_key_id": KEY, "aws_secret_access_key": SECRET,
            "aws_region": REGION, "aws_virtual_hosted_style_request": str(self.virtual).lower(),
            "allow_http": "true", "proxy_url": self.proxy, "max_retries": "0",
        }  # fmt: skip


class Client(Protocol):
    """What each of the five can do. Names are keys; contents are bytes, or rows for the table formats."""

    def __init__(self, way: Way) -> None: ...

    def round_trip(self, folder: str) -> None:
        """Write, read back, list, delete; a larger object in parts. Fails where something is not as written."""

    def put(self, key: str) -> None:
        """Write something small."""

    def get(self, key: str) -> None:
        """Read it."""


def boto(way: Way) -> Any:
    """A boto3 client."""
    return boto3.client(
        "s3", endpoint_url=f"http://{way.host}", aws_access_key_id=KEY, aws_secret_access_key=SECRET,
        region_name=REGION, config=Config(**way.botocore()),
    )  # fmt: skip


class Boto3:
    """boto3."""

    def __init__(self, way: Way) -> None:
        self._s3 = boto(way)

    def round_trip(self, folder: str) -> None:
        s3 = self._s3
        names = [f"{folder}/a b+c%2F.txt", f"{folder}/é/ü.txt", f"{folder}/empty"]
        for name in names:
            s3.put_object(Bucket=BUCKET, Key=name, Body=b"" if name.endswith("empty") else name.encode())
            assert s3.head_object(Bucket=BUCKET, Key=name)["ContentLength"] in {0, len(name.encode())}
        assert s3.get_object(Bucket=BUCKET, Key=names[0], Range="bytes=1-3")["Body"].read() == names[0].encode()[1:4]
        large = bytes(PART) + b"end"
        s3.upload_fileobj(io.BytesIO(large), BUCKET, f"{folder}/large")
        upload = s3.create_multipart_upload(Bucket=BUCKET, Key=f"{folder}/parts")["UploadId"]
        at = {"Bucket": BUCKET, "Key": f"{folder}/parts", "UploadId": upload}
        tags = [
            s3.upload_part(**at, PartNumber=n, Body=part)["ETag"] for n, part in enumerate((large[:PART], b"end"), 1)
        ]
        parts = [{"PartNumber": n, "ETag": tag} for n, tag in enumerate(tags, 1)]
        s3.complete_multipart_upload(**at, MultipartUpload={"Parts": parts})
        s3.copy_object(Bucket=BUCKET, Key=f"{folder}/copy", CopySource={"Bucket": BUCKET, "Key": f"{folder}/parts"})
        for name in ("large", "parts", "copy"):
            assert s3.get_object(Bucket=BUCKET, Key=f"{folder}/{name}")["Body"].read() == large
        listed = [at["Key"] for at in s3.list_objects_v2(Bucket=BUCKET, Prefix=f"{folder}/")["Contents"]]
        assert listed == sorted([*names, *(f"{folder}/{name}" for name in ("large", "parts", "copy"))])
        s3.delete_objects(Bucket=BUCKET, Delete={"Objects": [{"Key": name} for name in listed[1:]]})
        s3.delete_object(Bucket=BUCKET, Key=listed[0])
        assert s3.list_objects_v2(Bucket=BUCKET, Prefix=f"{folder}/")["KeyCount"] == 0

    def put(self, key: str) -> None:
        self._s3.put_object(Bucket=BUCKET, Key=key, Body=b"x")

    def get(self, key: str) -> None:
        self._s3.get_object(Bucket=BUCKET, Key=key)


class S3fs:
    """s3fs, whose own retries are on top of botocore's."""

    def __init__(self, way: Way) -> None:
        self._way, self._config = way, way.botocore()

    def _run(self, *calls: tuple[str, Any, Any]) -> list[Any]:
        async def all_of_them() -> list[Any]:
            files = s3fs.S3FileSystem(
                asynchronous=True, key=KEY, secret=SECRET, endpoint_url=f"http://{self._way.host}",
                client_kwargs={"region_name": REGION}, config_kwargs=self._config, skip_instance_cache=True,
            )  # fmt: skip
            files.retries = 1
            session = await files.set_session()
            try:
                return [await getattr(files, name)(*args, **kwargs) for name, args, kwargs in calls]
            finally:
                await session.close()

        return asyncio.run(all_of_them())

    def round_trip(self, folder: str) -> None:
        at, large = f"{BUCKET}/{folder}", bytes(2 * PART) + b"end"
        found = self._run(
            ("_pipe_file", (f"{at}/a b", b"small"), {}),
            ("_pipe_file", (f"{at}/large", large), {"chunksize": PART}),
            ("_cat_file", (f"{at}/a b",), {}),
            ("_cat_file", (f"{at}/large",), {}),
            ("_ls", (at, False), {"refresh": True}),
            ("_rm", ([f"{at}/a b", f"{at}/large"],), {}),
            ("_exists", (f"{at}/a b",), {}),
        )
        assert found[2:4] == [b"small", large]
        assert found[4] == [f"{at}/a b", f"{at}/large"]
        assert found[6] is False

    def put(self, key: str) -> None:
        self._run(("_pipe_file", (f"{BUCKET}/{key}", b"x"), {}))

    def get(self, key: str) -> None:
        self._run(("_cat_file", (f"{BUCKET}/{key}",), {}))


class Obstore:
    """obstore."""

    def __init__(self, way: Way) -> None:
        client: ClientConfig = {"allow_http": True, "proxy_url": way.proxy}
        retry: RetryConfig = {"max_retries": 0}
        self._store = S3Store(
            BUCKET, endpoint=way.endpoint(), access_key_id=KEY, secret_access_key=SECRET, region=REGION,
            virtual_hosted_style_request=way.virtual, client_options=client, retry_config=retry,
        )  # fmt: skip

    def round_trip(self, folder: str) -> None:
        large = bytes(PART) + b"end"
        obstore.put(self._store, f"{folder}/a b", b"small", mode="create")
        obstore.put(self._store, f"{folder}/large", large, use_multipart=True, chunk_size=PART)
        assert bytes(obstore.get(self._store, f"{folder}/a b").bytes()) == b"small"
        assert bytes(obstore.get(self._store, f"{folder}/large").bytes()) == large
        assert bytes(obstore.get_range(self._store, f"{folder}/large", start=PART - 1, end=PART + 2)) == b"\0en"
        listed = sorted(at["path"] for page in obstore.list(self._store, f"{folder}/") for at in page)
        assert listed == [f"{folder}/a b", f"{folder}/large"]
        obstore.copy(self._store, f"{folder}/large", f"{folder}/copy")
        obstore.delete(self._store, [*listed, f"{folder}/copy"])
        assert [page for page in obstore.list(self._store, f"{folder}/") if page] == []

    def put(self, key: str) -> None:
        obstore.put(self._store, key, b"x", use_multipart=False)

    def get(self, key: str) -> None:
        obstore.get(self._store, key)


class Polars:
    """polars."""

    def __init__(self, way: Way) -> None:
        self._options: dict[str, Any] = {**way.options(), "max_retries": 0}

    def round_trip(self, folder: str) -> None:
        small, large = pl.DataFrame({"a": [1, 2]}), pl.DataFrame({"a": range(1_500_000)})
        for name, frame in (("small", small), ("large", large)):
            path = f"s3://{BUCKET}/{folder}/{name}.parquet"
            frame.write_parquet(path, storage_options=self._options, compression="uncompressed")
            assert pl.read_parquet(path, storage_options=self._options).equals(frame)
        found = pl.scan_parquet(f"s3://{BUCKET}/{folder}/*.parquet", storage_options=self._options)
        assert found.select(pl.len()).collect().item() == 1_500_002

    def put(self, key: str) -> None:
        pl.DataFrame({"a": [1]}).write_parquet(f"s3://{BUCKET}/{key}", storage_options=self._options)

    def get(self, key: str) -> None:
        pl.read_parquet(f"s3://{BUCKET}/{key}", storage_options=self._options)


class Deltalake:
    """deltalake; `key` is a table."""

    def __init__(self, way: Way) -> None:
        self._options = way.options()

    def round_trip(self, folder: str) -> None:
        path = f"s3://{BUCKET}/{folder}/table"
        rows = pl.DataFrame({"a": np.random.default_rng(0).random(800_000)})  # which no compression makes small
        for _ in range(2):
            write_deltalake(path, rows, mode="append", storage_options=self._options)
        table = DeltaTable(path, storage_options=self._options)
        assert table.version() == 1
        assert table.to_pyarrow_table().num_rows == 1_600_000
        table.delete()
        table.vacuum(retention_hours=0, dry_run=False, enforce_retention_duration=False)
        assert DeltaTable(path, storage_options=self._options).file_uris() == []

    def put(self, key: str) -> None:
        write_deltalake(f"s3://{BUCKET}/{key}", pl.DataFrame({"a": [1]}), mode="append", storage_options=self._options)

    def get(self, key: str) -> None:
        DeltaTable(f"s3://{BUCKET}/{key}", storage_options=self._options)


CLIENTS: list[type[Client]] = [Boto3, S3fs, Obstore, Polars, Deltalake]
