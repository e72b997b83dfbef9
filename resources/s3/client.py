"""The S3 resource: makes every S3 client and sets its retries."""

import datetime as dt
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property, lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import boto3
import pyarrow.fs
from botocore.config import Config as BotocoreConfig
from botocore.exceptions import ClientError, IncompleteReadError, NoCredentialsError, ResponseStreamingError
from dagster import ConfigurableResource
from pydantic import Field

from resources.errors import PermanentFailure
from resources.local_stack import EmbeddedStack
from resources.s3 import conditions, usage, write_verifier
from resources.s3.governor.process import Governor
from resources.s3.options import ATTEMPTS, GovernorConfig, Route
from resources.s3.withheld import withheld

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client
    from mypy_boto3_s3.type_defs import ListObjectsV2OutputTypeDef, ObjectIdentifierTypeDef


class DamagedObjectError(PermanentFailure):
    """An object exists, but does not have the content that was written."""


class ListingMarkError(PermanentFailure):
    """A listing cannot continue at its continuation token; start it anew."""


@dataclass(frozen=True)
class S3Object:
    """One listed object: its key, size in bytes, entity tag, and when it was written."""

    key: str
    size_bytes: int
    etag: str
    written_at: dt.datetime | None = field(default=None, compare=False)


@dataclass(frozen=True)
class S3Connection:
    """Address and credentials of an S3 service. Blank credentials mean the standard AWS credential chain."""

    endpoint_url: str
    access_key_id: str
    secret_access_key: str
    region: str

    def __repr__(self) -> str:
        """Show the endpoint only: credentials must not reach a log."""
        return f"S3Connection({self.endpoint_url or 'AWS'}, {self.region})"


@lru_cache(maxsize=8)
def _session(access_key_id: str, secret_access_key: str, region: str) -> boto3.Session:
    """Share one session between all resources of a process, which Dagster copies freely."""
    return boto3.Session(access_key_id, secret_access_key, region_name=region)


class S3Resource(ConfigurableResource):  # type: ignore[type-arg]
    """One bucket of an S3 service, for all clients that the lineage uses.

    A blank ``endpoint_url`` with a ``stack_file`` means the embedded stack, looked up at first use, so that
    definitions load before the stack is up. With a ``governor``, all clients send all requests through it; it is found
    or started at first use, and each client retries only a few times. Without one, clients use S3 directly.
    """

    bucket: str
    endpoint_url: str = ""
    access_key_id: str = Field(default="", repr=False)
    secret_access_key: str = Field(default="", repr=False)
    region: str = "us-east-1"
    stack_file: str = ""
    governor: GovernorConfig | None = None

    @cached_property
    def connection(self) -> S3Connection:
        """Address and credentials. Raises StackNotUpError if the embedded stack is needed and not up."""
        if self.stack_file and not self.endpoint_url:
            stack = EmbeddedStack.read(Path(self.stack_file))
            return S3Connection(stack.s3_endpoint, stack.s3_access_key_id, stack.s3_secret_access_key, stack.s3_region)
        return S3Connection(self.endpoint_url, self.access_key_id, self.secret_access_key, self.region)

    @cached_property
    def upstream(self) -> str:
        """The URL of the S3 service; for AWS, the one that botocore chooses."""
        at = self.connection
        if at.endpoint_url:
            return at.endpoint_url.rstrip("/")
        regional = BotocoreConfig(s3={"us_east_1_regional_endpoint": "regional"})
        return str(self.session.client("s3", region_name=at.region, config=regional).meta.endpoint_url)

    @cached_property
    def session(self) -> boto3.Session:
        """The boto3 session. Its clients share the parsed service model, which takes a third of a second to load."""
        at = self.connection
        if at.access_key_id:
            return _session(at.access_key_id, at.secret_access_key, at.region)
        return boto3.Session(region_name=at.region)  # not shared: its credentials may have changed

    @cached_property
    def _joined(self) -> Governor | None:
        if self.governor is None:
            return None
        return usage.join(Path(self.governor.home), self.governor.settings(self.upstream))

    @property
    def _route(self) -> Route:
        """The way to S3. Raises GovernorStartError."""
        at, found = self.connection, self._joined
        usage.use(found)
        if found is None or self.governor is None:
            return Route(at.endpoint_url, "path" if at.endpoint_url else "auto")
        route = Route.through(found, self.upstream, self.governor.deadline_seconds, is_aws=not at.endpoint_url)
        write_verifier.start(found, lambda: self._boto3_client(route))
        return route

    def _boto3_client(self, route: Route) -> "S3Client":
        return self.session.client(
            "s3", endpoint_url=route.endpoint_url or None, config=BotocoreConfig(**route.botocore(attempts=ATTEMPTS))
        )

    @cached_property
    def _boto3(self) -> "S3Client":
        return self._boto3_client(self._route)

    @property
    def client(self) -> "S3Client":
        """The boto3 client."""
        usage.use(self._joined)
        return self._boto3

    @property
    def arrow_filesystem(self) -> pyarrow.fs.FileSystem:
        """S3 as an Arrow file system, for streaming Parquet writes. s3fs sends the requests."""
        usage.use(self._joined)
        return self._arrow_filesystem

    @cached_property
    def _arrow_filesystem(self) -> pyarrow.fs.FileSystem:
        import s3fs  # importing it takes half a second, and definitions load without it

        at, route = self.connection, self._route
        s3 = s3fs.S3FileSystem(
            key=at.access_key_id or None,
            secret=at.secret_access_key or None,
            endpoint_url=route.endpoint_url or None,
            client_kwargs={"region_name": at.region},
            # Both s3fs and botocore retry. Keep only s3fs' retries, which include reading a body.
            config_kwargs=route.botocore(attempts=1),
            skip_instance_cache=True,
            use_listings_cache=False,
        )
        s3.retries = ATTEMPTS
        return pyarrow.fs.PyFileSystem(pyarrow.fs.FSSpecHandler(s3))

    @property
    def storage_options(self) -> dict[str, str]:
        """Options that both delta-rs and polars take, valid for at least ten minutes if credentials expire.

        Commits rely on conditional puts, delta-rs's default. The number of retries is added below: its type differs.
        """
        at, route = self.connection, self._route
        return {"AWS_REGION": at.region, **self._object_store_credentials(), **route.object_store()}

    @property
    def delta_options(self) -> dict[str, str]:
        """``storage_options`` for delta-rs, whose only retries are object_store's."""
        return self._route.delta(self.storage_options)

    @property
    def polars_options(self) -> dict[str, Any]:
        """``storage_options`` for polars, which takes numbers."""
        return self._route.polars(self.storage_options)

    @property
    def obstore_options(self) -> dict[str, Any]:
        """The keyword arguments for `obstore.store.S3Store.from_url(s3.uri(""), **s3.obstore_options)`."""
        return self._route.obstore(self.storage_options)

    def _object_store_credentials(self) -> dict[str, str]:
        """Return credentials for the object_store family (delta-rs, polars, obstore).

        With a proxy, object_store would send its credential requests (STS, instance metadata) through it too. So
        botocore fetches the credentials, and renews them while they are valid for another 10 to 15 minutes.
        """
        at = self.connection
        if at.access_key_id:
            return {"AWS_ACCESS_KEY_ID": at.access_key_id, "AWS_SECRET_ACCESS_KEY": at.secret_access_key}
        if not self._route.proxy_url:
            return {}
        found = self.session.get_credentials()
        if found is None:
            raise NoCredentialsError
        now = found.get_frozen_credentials()
        token = {"AWS_SESSION_TOKEN": now.token} if now.token else {}
        return {"AWS_ACCESS_KEY_ID": str(now.access_key), "AWS_SECRET_ACCESS_KEY": str(now.secret_key), **token}

    def uri(self, key: str) -> str:
        """Return the s3:// address of a key."""
        return f"s3://{self.bucket}/{key}"

    def list_objects(self, prefix: str) -> Iterator[S3Object]:
        """Yield all objects under a prefix, in pages of 1,000 and in no defined order."""
        for page in self.client.get_paginator("list_objects_v2").paginate(Bucket=self.bucket, Prefix=prefix):
            yield from _objects(page)

    def list_page(self, prefix: str, mark: str = "", limit: int = 1000) -> tuple[list[S3Object], str]:
        """Return one page of at most ``limit`` objects and the next page's continuation token, "" after the last.

        Raises ListingMarkError if the server does not accept the token. A key to start after cannot replace it: if an
        object's key is also a folder, SeaweedFS leaves out the objects in the folder.
        """
        start: dict[str, Any] = {"ContinuationToken": mark} if mark else {}
        try:
            page = self.client.list_objects_v2(Bucket=self.bucket, Prefix=prefix, MaxKeys=limit, **start)
        except ClientError as error:
            if mark and error.response["Error"]["Code"] == "InvalidArgument":
                message = f"The continuation token of a listing of {self.uri(prefix)} was refused: list it anew."
                raise ListingMarkError(message) from None
            raise
        return list(_objects(page)), page.get("NextContinuationToken", "") if page["IsTruncated"] else ""

    def list_folders(self, prefix: str) -> list[str]:
        """Return the prefixes one level below ``prefix`` (which ends with a slash), sorted."""
        pages = self.client.get_paginator("list_objects_v2").paginate(Bucket=self.bucket, Prefix=prefix, Delimiter="/")
        return sorted(p["Prefix"] for page in pages for p in page.get("CommonPrefixes", []))

    def get(self, key: str, etag: str = "") -> bytes | None:
        """Return an object's bytes, None if it does not exist or has another ``etag``. Raises WithheldObjectError."""
        condition: dict[str, Any] = {"IfMatch": f'"{etag}"'} if etag else {}
        for left in reversed(range(ATTEMPTS)):
            try:
                return self.client.get_object(Bucket=self.bucket, Key=key, **condition)["Body"].read()
            except ClientError as error:
                if error.response["Error"]["Code"] in {"NoSuchKey", "404", "PreconditionFailed", "412"}:
                    return None
                raise withheld(error, self.uri(key)) from None
            except (ResponseStreamingError, IncompleteReadError):  # botocore does not retry reading a body
                if not left:
                    raise
        return None

    def exists(self, key: str) -> bool:
        """Return whether an object exists."""
        return any(item.key == key for item in self.list_page(key, limit=1)[0])

    def put(self, key: str, body: bytes, *, if_absent: bool = False) -> bool:
        """Write an object. With ``if_absent``, return False if the key already exists, and write nothing."""
        if if_absent:
            self.require_condition("IfNoneMatch")
        condition: dict[str, Any] = {"IfNoneMatch": "*"} if if_absent else {}
        try:
            self.client.put_object(Bucket=self.bucket, Key=key, Body=body, **condition)
        except ClientError as error:
            if if_absent and error.response["Error"]["Code"] in {"PreconditionFailed", "412"}:
                return False
            raise
        return True

    def require_condition(self, condition: conditions.Condition) -> None:
        """Raise IgnoredConditionError unless S3 honours this condition of a write."""
        conditions.require(self.client, self.connection.endpoint_url, self.bucket, condition)

    def get_json(self, key: str) -> Any:
        """Return an object parsed as JSON, None if it does not exist. Raises DamagedObjectError."""
        body = self.get(key)
        try:
            return None if body is None else json.loads(body)
        except (ValueError, RecursionError):
            raise DamagedObjectError(f"{self.uri(key)} is damaged: it is not JSON.") from None

    def put_json(self, key: str, value: Mapping[str, Any], *, if_absent: bool = False) -> bool:
        """Write a value as JSON; see ``put``."""
        return self.put(key, json.dumps(value, sort_keys=True).encode(), if_absent=if_absent)

    def delete(self, keys: list[str]) -> None:
        """Delete objects. Raises OSError with the first key that could not be deleted."""
        self.delete_versions([{"Key": key} for key in keys])

    def delete_versions(self, objects: "Sequence[ObjectIdentifierTypeDef]") -> None:
        """Delete objects or versions of objects, 1,000 a request. Raises OSError for the first failure."""
        for start in range(0, len(objects), 1000):
            some = objects[start : start + 1000]
            answer = self.client.delete_objects(Bucket=self.bucket, Delete={"Objects": some, "Quiet": True})
            for failure in answer.get("Errors", []):
                raise OSError(f"{self.uri(failure.get('Key', ''))} could not be deleted: {failure.get('Code')}")


def _objects(page: "ListObjectsV2OutputTypeDef") -> Iterator[S3Object]:
    for item in page.get("Contents", []):
        yield S3Object(item["Key"], item["Size"], item["ETag"].strip('"'), item["LastModified"])
