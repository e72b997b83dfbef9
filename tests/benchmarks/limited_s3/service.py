"""The S3 service without HTTP: admits requests under the limits, draws faults, executes requests, and counts."""

import time
from collections.abc import Callable
from itertools import count

from tests.benchmarks.limited_s3 import listing, operations
from tests.benchmarks.limited_s3.answers import INTERNAL_ERROR, SLOW_DOWN, Answer, Body, S3Error, error_answer
from tests.benchmarks.limited_s3.bodies import decode
from tests.benchmarks.limited_s3.counts import Counts, Tally
from tests.benchmarks.limited_s3.limiter import Fault, FaultDraw, Limiter
from tests.benchmarks.limited_s3.multipart import Uploads
from tests.benchmarks.limited_s3.request import UNLIMITED, Request
from tests.benchmarks.limited_s3.settings import Settings
from tests.benchmarks.limited_s3.signature import Credentials, check
from tests.benchmarks.limited_s3.store import Bucket, Store

_APPLYING = frozenset({"PutObject", "CopyObject", "CompleteMultipartUpload"})
_ERROR_IN_200 = frozenset({"CopyObject", "UploadPartCopy", "CompleteMultipartUpload"})
_FREE = UNLIMITED | {"Control", "Unknown"}


class Service:
    """One in-memory S3 service. ``now`` returns seconds of a monotonic clock."""

    def __init__(
        self,
        settings: Settings,
        *,
        buckets: tuple[str, ...] = (),
        seed: int = 0,
        signed: bool = False,
        credentials: Credentials | None = None,
        now: Callable[[], float] = time.monotonic,
    ) -> None:
        self._now = now
        self._seed = seed
        self._signed = signed or credentials is not None
        self._credentials = credentials
        self.counts = Counts(now())
        self._ids = count(1)
        self.store = Store(lambda name: self.counts.wrote(name))
        for name in buckets:
            self.store.buckets[name] = Bucket()
        self._operations = _table(Uploads())
        self.apply(settings)

    def apply(self, settings: Settings) -> None:
        """Change the settings: token buckets start full, and faults are drawn from the seed again."""
        self.settings = settings
        self._limiter = Limiter(settings.limits)
        self._draw = FaultDraw(self._seed)

    def reset_counts(self) -> None:
        """Reset the counts."""
        self.counts = Counts(self._now())

    def stats(self) -> dict[str, object]:
        """Return the counts as JSON."""
        return self.counts.to_json(self._now())

    def request_id(self) -> str:
        """Return the next request id."""
        return f"{next(self._ids):016X}"

    def admit(self, request: Request) -> tuple[Tally | None, str | None, Fault | None]:
        """Return the counts, the code of a refusal and the fault of a request whose head was received.

        A multi-delete is admitted with its body, because each of its keys counts.
        """
        operation = request.operation
        if operation in _FREE:
            return None, None, None
        prefix, verb, counts = self._limiter.prefix(request.bucket, request.folder_key), request.verb, self.counts
        tally = counts.tally(prefix, verb, operation)
        if operation != "DeleteObjects":
            now = self._now()
            if not self._limiter.take(prefix, verb, 1, now):
                tally.throttled += 1
                counts.admitted(prefix, verb, 0, 1, now)
                return tally, "SlowDown", None
            tally.accepted += 1
            counts.admitted(prefix, verb, 1, 0, now)
        fault = self._draw.request(self.settings.faults)
        if fault is Fault.SLOW:
            tally.slow += 1
        elif fault in (Fault.ERROR_BEFORE, Fault.ERROR_AFTER):
            tally.errors += 1
        elif fault is not None:
            tally.resets += 1
        return tally, None, fault

    def carry_out(self, request: Request, body: Body, request_id: str) -> Answer:
        """Execute a request and return its response, also for S3 errors."""
        try:
            if self._signed:
                check(request, self._credentials)
            return self._do(request, body)
        except S3Error as error:
            return self.failure(request, error.code, str(error), request_id)

    def failure(self, request: Request, code: str, message: str, request_id: str, *, status: int = 0) -> Answer:
        """Return S3's error document, and keep its request id."""
        self.counts.failed(request_id, code, request.operation, request.name)
        return error_answer(code, message, request.bucket, request.key, request_id, status=status)

    def slow_down(self, request: Request, request_id: str) -> Answer:
        """Return the response over the limit."""
        return self.failure(request, "SlowDown", SLOW_DOWN, request_id)

    def internal_error(self, request: Request, request_id: str) -> Answer:
        """Return the response of an injected 500."""
        return self.failure(request, "InternalError", INTERNAL_ERROR, request_id)

    def not_delivered(self, request: Request, answer: Answer) -> None:
        """Count a successful write whose response the client does not receive."""
        if answer.status == 200 and request.operation in _APPLYING and b"<Error>" not in bytes(answer.body[:60]):
            self.counts.doubted(request.name)

    def _do(self, request: Request, body: Body) -> Answer:
        operation = request.operation
        carry_out = self._operations.get(operation)
        if operation == "DeleteObjects":
            return self._delete_objects(request, decode(request, body))
        if carry_out is None:
            raise S3Error("NotImplemented", f"{request.method} of this address is not implemented here.")
        if operation in _ERROR_IN_200 and self._draw.hit(self.settings.faults.error_in_200):
            return self.failure(request, "InternalError", INTERNAL_ERROR, self.request_id(), status=200)
        return carry_out(self.store, request, decode(request, body) if body else body)

    def _delete_objects(self, request: Request, body: Body) -> Answer:
        """Take a token per key. Keys of a prefix without tokens are refused; if all are, the response is 503."""
        keys, quiet = operations.keys_to_delete(body)
        self.store.bucket(request.bucket)
        by_prefix: dict[str, list[int]] = {}
        for at, key in enumerate(keys):
            by_prefix.setdefault(self._limiter.prefix(request.bucket, key), []).append(at)
        refused, now = set(), self._now()
        for prefix, places in by_prefix.items():
            taken = len(places) if self._limiter.take(prefix, "write", len(places), now) else 0
            refused.update(places[taken:])
            tally = self.counts.tally(prefix, "write", "DeleteObjects")
            tally.accepted += taken
            self.counts.admitted(prefix, "write", taken, len(places) - taken, now)
            tally.throttled += len(places) - taken
        if len(refused) == len(keys):
            raise S3Error("SlowDown", SLOW_DOWN)
        share = self.settings.faults.key_slow_downs
        refused.update(at for at in range(len(keys)) if self._draw.hit(share))
        return operations.delete_objects(self.store, request.bucket, keys, refused, quiet=quiet)


def _table(uploads: Uploads) -> dict[str, Callable[[Store, Request, Body], Answer]]:
    return {
        "PutObject": operations.put_object,
        "GetObject": operations.get_object,
        "HeadObject": operations.get_object,
        "DeleteObject": operations.delete_object,
        "CopyObject": operations.copy_object,
        "CreateMultipartUpload": uploads.create,
        "UploadPart": uploads.upload_part,
        "UploadPartCopy": uploads.upload_part_copy,
        "CompleteMultipartUpload": uploads.complete,
        "AbortMultipartUpload": uploads.abort,
        "ListParts": uploads.list_parts,
        "ListMultipartUploads": uploads.list_uploads,
        "ListObjectsV2": listing.list_objects_v2,
        "ListObjects": listing.list_objects,
        "ListBuckets": operations.list_buckets,
        "CreateBucket": operations.create_bucket,
        "HeadBucket": operations.head_bucket,
        "DeleteBucket": operations.delete_bucket,
        "GetBucketLocation": operations.bucket_location,
        "GetBucketVersioning": operations.bucket_versioning,
    }
