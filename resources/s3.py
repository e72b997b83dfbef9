"""S3: the one place that makes S3 clients and says how they retry.

Belongs here: clients, storage options, small-object reads and writes. Not here: what the objects mean.
"""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import boto3
import pyarrow.fs
from botocore.config import Config
from botocore.exceptions import ClientError
from dagster import ConfigurableResource
from pydantic import Field

from resources.embedded import EmbeddedStack

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client


class DamagedObjectError(RuntimeError):
    """An object is there, but not what was written; the message names it."""


@dataclass(frozen=True)
class S3Object:
    """One listed object: its key, size in bytes and entity tag."""

    key: str
    size_bytes: int
    etag: str


@dataclass(frozen=True)
class S3Connection:
    """Address and credentials of an S3 service. Blank credentials mean the standard AWS chain."""

    endpoint_url: str
    access_key_id: str
    secret_access_key: str
    region: str

    def __repr__(self) -> str:
        """Name the endpoint alone: credentials never reach a log."""
        return f"S3Connection({self.endpoint_url or 'AWS'}, {self.region})"


class S3Resource(ConfigurableResource):  # type: ignore[type-arg]
    """One bucket of an S3 service, for every client that the lineage uses.

    A blank ``endpoint_url`` with a ``stack_file`` means the embedded stack, looked up when first used, so that
    definitions load before the stack is up.
    """

    bucket: str
    endpoint_url: str = ""
    access_key_id: str = Field(default="", repr=False)
    secret_access_key: str = Field(default="", repr=False)
    region: str = "us-east-1"
    stack_file: str = ""
    max_attempts: int = 8

    @cached_property
    def connection(self) -> S3Connection:
        """Where this bucket is. Raises StackNotUpError when it is the embedded stack's and that is not up."""
        if self.stack_file and not self.endpoint_url:
            stack = EmbeddedStack.read(Path(self.stack_file))
            return S3Connection(stack.s3_endpoint, stack.s3_access_key_id, stack.s3_secret_access_key, stack.s3_region)
        return S3Connection(self.endpoint_url, self.access_key_id, self.secret_access_key, self.region)

    @cached_property
    def client(self) -> "S3Client":
        """The boto3 client. The retry mode is pinned because botocore's default one depends on its version."""
        at = self.connection
        return boto3.client(
            "s3",
            endpoint_url=at.endpoint_url or None,
            aws_access_key_id=at.access_key_id or None,
            aws_secret_access_key=at.secret_access_key or None,
            region_name=at.region,
            config=Config(
                retries={"mode": "standard", "max_attempts": self.max_attempts},
                max_pool_connections=32,
                s3={"addressing_style": "path" if at.endpoint_url else "auto"},
            ),
        )

    @cached_property
    def arrow_filesystem(self) -> pyarrow.fs.FileSystem:
        """S3 as an Arrow file system, for streaming Parquet writes; s3fs does the requests."""
        import s3fs  # imported here: it takes half a second, and definitions load without it

        at = self.connection
        s3 = s3fs.S3FileSystem(
            key=at.access_key_id or None,
            secret=at.secret_access_key or None,
            endpoint_url=at.endpoint_url or None,
            client_kwargs={"region_name": at.region},
            skip_instance_cache=True,
            use_listings_cache=False,
        )
        return pyarrow.fs.PyFileSystem(pyarrow.fs.FSSpecHandler(s3))

    @cached_property
    def storage_options(self) -> dict[str, str]:
        """Options for delta-rs and polars. Commits rely on conditional puts, delta-rs's default, which S3 honours.

        Their retries stay at their defaults: each takes another type for the option of the same name.
        """
        at = self.connection
        options = {"AWS_REGION": at.region}
        if at.endpoint_url:
            options |= {"AWS_ENDPOINT_URL": at.endpoint_url}
        if at.endpoint_url.startswith("http://"):
            options |= {"AWS_ALLOW_HTTP": "true"}
        if at.access_key_id:
            options |= {
                "AWS_ACCESS_KEY_ID": at.access_key_id,
                "AWS_SECRET_ACCESS_KEY": at.secret_access_key,
            }
        return options

    def uri(self, key: str) -> str:
        """The s3:// address of a key."""
        return f"s3://{self.bucket}/{key}"

    def list_objects(self, prefix: str) -> Iterator[S3Object]:
        """Every object under a prefix, in pages of 1,000; the order is the server's and means nothing."""
        pages = self.client.get_paginator("list_objects_v2").paginate(Bucket=self.bucket, Prefix=prefix)
        for page in pages:
            for item in page.get("Contents", []):
                yield S3Object(item["Key"], item["Size"], item["ETag"].strip('"'))

    def list_folders(self, prefix: str) -> list[str]:
        """The prefixes one level below ``prefix`` (which ends with a slash), sorted."""
        pages = self.client.get_paginator("list_objects_v2").paginate(Bucket=self.bucket, Prefix=prefix, Delimiter="/")
        return sorted(p["Prefix"] for page in pages for p in page.get("CommonPrefixes", []))

    def get(self, key: str) -> bytes | None:
        """An object's bytes, or None when there is no such object."""
        try:
            return self.client.get_object(Bucket=self.bucket, Key=key)["Body"].read()
        except ClientError as error:
            if error.response["Error"]["Code"] in {"NoSuchKey", "404"}:
                return None
            raise

    def put(self, key: str, body: bytes, *, if_absent: bool = False) -> bool:
        """Write an object; with ``if_absent``, False when the key already exists and nothing was written."""
        condition: dict[str, Any] = {"IfNoneMatch": "*"} if if_absent else {}
        try:
            self.client.put_object(Bucket=self.bucket, Key=key, Body=body, **condition)
        except ClientError as error:
            if if_absent and error.response["Error"]["Code"] in {"PreconditionFailed", "412"}:
                return False
            raise
        return True

    def get_json(self, key: str) -> Any:
        """An object parsed as JSON, or None when there is no such object. Raises DamagedObjectError."""
        body = self.get(key)
        try:
            return None if body is None else json.loads(body)
        except ValueError:
            message = f"{self.uri(key)} is damaged: it is not JSON."
            raise DamagedObjectError(message) from None

    def put_json(self, key: str, value: Mapping[str, Any], *, if_absent: bool = False) -> bool:
        """Write a value as JSON; see ``put``."""
        return self.put(key, json.dumps(value, sort_keys=True).encode(), if_absent=if_absent)

    def delete(self, keys: list[str]) -> None:
        """Delete objects, 1,000 a request. Raises with the first key that could not be deleted."""
        for start in range(0, len(keys), 1000):
            batch = [{"Key": key} for key in keys[start : start + 1000]]
            answer = self.client.delete_objects(
                Bucket=self.bucket,
                Delete={"Objects": batch, "Quiet": True},  # type: ignore[typeddict-item]
            )
            for failure in answer.get("Errors", []):
                message = f"s3://{self.bucket}/{failure.get('Key')} could not be deleted: {failure.get('Code')}"
                raise OSError(message)
