"""Multipart uploads: parts until a completion makes them one object, which may be repeated."""

import hashlib
from dataclasses import dataclass, field
from itertools import pairwise
from uuid import uuid4

from tests.benchmarks.limited_s3.answers import Answer, Body, S3Error, element, xml
from tests.benchmarks.limited_s3.operations import (
    byte_range,
    check_write_conditions,
    copy_source,
    iso_date,
    kept_headers,
    parse_xml,
)
from tests.benchmarks.limited_s3.request import Request
from tests.benchmarks.limited_s3.store import Store, StoredObject, etag_of

_LEAST_PART_BYTES = 5 << 20
_MOST_PARTS = 10_000
_REMEMBERED_COMPLETIONS = 10_000


@dataclass(slots=True)
class _Upload:
    bucket: str
    key: str
    headers: tuple[tuple[str, str], ...]
    parts: dict[int, tuple[Body, str]] = field(default_factory=dict)


class Uploads:
    """Every upload in progress, and what recently completed ones answered."""

    def __init__(self) -> None:
        self._open: dict[str, _Upload] = {}
        self._completed: dict[str, tuple[str, str, Answer]] = {}

    def create(self, store: Store, request: Request, _: Body) -> Answer:
        """Begin an upload."""
        store.bucket(request.bucket)
        name = uuid4().hex
        self._open[name] = _Upload(request.bucket, request.key, kept_headers(request))
        where = element("Bucket", request.bucket) + element("Key", request.key)
        return xml("InitiateMultipartUploadResult", where + element("UploadId", name))

    def upload_part(self, _: Store, request: Request, body: Body) -> Answer:
        """Take one part; the same number again replaces it."""
        etag = self._add(request, body)
        return Answer(200, headers=(("ETag", f'"{etag}"'),))

    def upload_part_copy(self, store: Store, request: Request, _: Body) -> Answer:
        """Take one part from a range of an object."""
        source = copy_source(store, request)
        span = byte_range(request.header(b"x-amz-copy-source-range"), len(source.body))
        body = source.body if span is None else bytes(memoryview(source.body)[span[0] : span[1]])
        etag = self._add(request, body)
        return xml("CopyPartResult", element("ETag", f'"{etag}"') + element("LastModified", iso_date(source.modified)))

    def complete(self, store: Store, request: Request, body: Body) -> Answer:
        """Make the parts an object; a recently completed upload answers the same again."""
        done = self._completed.get(request.query["uploadId"])
        if done is not None and done[:2] == (request.bucket, request.key):
            return done[2]
        upload = self._find(request)
        parts = self._chosen(upload, body)
        check_write_conditions(store, request)
        joined = b"".join(part for part, _ in parts)
        digest = hashlib.md5(b"".join(bytes.fromhex(tag) for _, tag in parts), usedforsecurity=False)
        stored = StoredObject(joined, f"{digest.hexdigest()}-{len(parts)}", upload.headers)
        store.put(request.bucket, request.key, stored)
        where = element("Location", f"/{request.name}") + element("Bucket", request.bucket)
        inside = where + element("Key", request.key) + element("ETag", f'"{stored.etag}"')
        answer = xml("CompleteMultipartUploadResult", inside)
        del self._open[request.query["uploadId"]]
        self._completed[request.query["uploadId"]] = (request.bucket, request.key, answer)
        if len(self._completed) > _REMEMBERED_COMPLETIONS:
            del self._completed[next(iter(self._completed))]
        return answer

    def abort(self, _: Store, request: Request, __: Body) -> Answer:
        """Forget an upload and its parts."""
        self._find(request)
        del self._open[request.query["uploadId"]]
        return Answer(204)

    def list_parts(self, _: Store, request: Request, __: Body) -> Answer:
        """The parts of an upload, all on one page."""
        upload = self._find(request)
        each = "".join(
            f"<Part>{element('PartNumber', n)}<ETag>&quot;{tag}&quot;</ETag>{element('Size', len(part))}</Part>"
            for n, (part, tag) in sorted(upload.parts.items())
        )
        where = element("Bucket", upload.bucket) + element("Key", upload.key)
        name = element("UploadId", request.query["uploadId"])
        return xml("ListPartsResult", where + name + "<IsTruncated>false</IsTruncated>" + each)

    def list_uploads(self, store: Store, request: Request, _: Body) -> Answer:
        """The uploads in progress of a bucket, all on one page."""
        store.bucket(request.bucket)
        prefix = request.query.get("prefix", "")
        each = "".join(
            f"<Upload>{element('Key', upload.key)}{element('UploadId', name)}</Upload>"
            for name, upload in sorted(self._open.items(), key=lambda item: (item[1].key, item[0]))
            if upload.bucket == request.bucket and upload.key.startswith(prefix)
        )
        inside = element("Bucket", request.bucket) + "<IsTruncated>false</IsTruncated>" + each
        return xml("ListMultipartUploadsResult", inside)

    def _find(self, request: Request) -> _Upload:
        found = self._open.get(request.query["uploadId"])
        if found is None or (found.bucket, found.key) != (request.bucket, request.key):
            raise S3Error("NoSuchUpload", "The specified multipart upload does not exist.")
        return found

    def _add(self, request: Request, body: Body) -> str:
        upload = self._find(request)
        number = request.query.get("partNumber", "")
        if not (number.isdecimal() and 1 <= int(number) <= _MOST_PARTS):
            raise S3Error("InvalidArgument", "Part number must be an integer between 1 and 10000, inclusive")
        etag = etag_of(body)
        upload.parts[int(number)] = (body, etag)
        return etag

    @staticmethod
    def _chosen(upload: _Upload, body: Body) -> list[tuple[Body, str]]:
        """The parts that a completion names; raises S3's errors for wrong ones."""
        listed = [
            (int(part.findtext("PartNumber") or 0), (part.findtext("ETag") or "").strip().strip('"'))
            for part in parse_xml(body).iter("Part")
        ]
        if not listed:
            raise S3Error("MalformedXML", "A completion names at least one part")
        if any(after <= before for (before, _), (after, _) in pairwise(listed)):
            raise S3Error("InvalidPartOrder", "The list of parts was not in ascending order.")
        chosen = [upload.parts.get(number) for number, _ in listed]
        parts = [part for part, (_, tag) in zip(chosen, listed, strict=True) if part is not None and part[1] == tag]
        if len(parts) < len(listed):
            raise S3Error("InvalidPart", "One or more of the specified parts could not be found.")
        if any(len(part) < _LEAST_PART_BYTES for part, _ in parts[:-1]):
            raise S3Error("EntityTooSmall", "Your proposed upload is smaller than the minimum allowed size")
        return parts
