"""Write rows into Parquet files on S3, one bucket per file. Encode and upload while the caller reads."""

from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from threading import BoundedSemaphore
from typing import Any, Self
from uuid import uuid4

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from resources.s3.client import S3Resource

_ROWS_BYTES = 16 << 20
"""Rows split into buckets and encoded at a time; each bucket's part is one row group."""
_FILES_BYTES = 48 << 20
"""Encoded bytes held for all buckets; a bucket's file is closed at its share."""
_UPLOADS = 2
"""Concurrent uploads while the next files are encoded."""
_REPEATING = frozenset(
    {
        *("account_id", "account_bucket", "network", "media_type", "hashtags.list.element"),
        *("country", "language", "brand", "campaign", "author_role", "rating"),
    }
)
"""Parquet paths of columns with repeated values. A dictionary for the other columns cost a third more time and made
files larger."""


@dataclass(frozen=True)
class WindowFile:
    """One Parquet file of a window. All its rows belong to one bucket."""

    key: str
    bucket: int
    rows: int
    size_bytes: int


@dataclass
class _OpenFile:
    """A file that grows in memory."""

    sink: pa.BufferOutputStream
    writer: pq.ParquetWriter
    rows: int = 0
    size_bytes: int = 0


@dataclass
class WindowWriter:
    """Write rows that have ``account_bucket`` into files of one bucket each. Use it as a context.

    Memory: three times ``rows_bytes`` (gathered, waiting, encoded), ``files_bytes``, and the files being uploaded.
    """

    s3: S3Resource
    folder: str
    bucket_count: int
    rows_bytes: int = _ROWS_BYTES
    files_bytes: int = _FILES_BYTES
    _gathered: list[pa.Table] = field(default_factory=list)
    _gathered_bytes: int = 0
    _waiting_bytes: int = 0
    _open: dict[int, _OpenFile] = field(default_factory=dict)
    _files: list[WindowFile] = field(default_factory=list)
    _encoding: "list[Future[None]]" = field(default_factory=list)
    _uploading: "list[Future[None]]" = field(default_factory=list)

    def __enter__(self) -> Self:
        self._encoder = ThreadPoolExecutor(1, "encode")
        self._uploader = ThreadPoolExecutor(_UPLOADS, "upload")
        self._free_uploads = BoundedSemaphore(_UPLOADS + 1)
        return self

    def __exit__(self, *_error: object) -> None:
        for pool in (self._encoder, self._uploader):
            pool.shutdown(wait=True, cancel_futures=True)

    @property
    def held_bytes(self) -> int:
        """Return the bytes of rows and files in memory that are not being uploaded yet."""
        files = sum(opened.size_bytes for opened in list(self._open.values()))
        return self._gathered_bytes + self._waiting_bytes + files

    def add(self, rows: pa.Table) -> None:
        """Add rows. Raise the error of earlier rows, if any."""
        if not rows.num_rows:
            return
        self._gathered.append(rows)
        self._gathered_bytes += rows.nbytes
        if self._gathered_bytes >= self.rows_bytes:
            self._encode_gathered()

    def finish(self) -> tuple[WindowFile, ...]:
        """Write all rows in memory and return all files, ordered by bucket."""
        self._encode_gathered()
        self._wait_for_encoding(0)
        for bucket in sorted(self._open):
            self._close(bucket)
        for done in self._uploading:
            done.result()
        return tuple(sorted(self._files, key=lambda file: (file.bucket, file.key)))

    def _encode_gathered(self) -> None:
        if self._gathered:
            # One batch waits while another is encoded; a third would only cost memory.
            self._wait_for_encoding(1)
            self._waiting_bytes = self._gathered_bytes
            self._encoding.append(self._encoder.submit(self._encode, self._gathered))
            self._gathered, self._gathered_bytes = [], 0

    def _wait_for_encoding(self, most: int) -> None:
        while len(self._encoding) > most:
            self._encoding.pop(0).result()

    def _encode(self, gathered: list[pa.Table]) -> None:
        rows = pa.concat_tables(gathered)
        gathered.clear()
        for bucket, part in by_bucket(rows):
            opened = self._open.get(bucket) or self._open.setdefault(bucket, _new_file(rows.schema))
            opened.writer.write_table(part)
            opened.rows += part.num_rows
            opened.size_bytes = opened.sink.tell()
            if opened.size_bytes >= self.files_bytes // self.bucket_count:
                self._close(bucket)

    def _close(self, bucket: int) -> None:
        opened = self._open.pop(bucket)
        opened.writer.close()
        # The random name keeps files of a crashed attempt out of every manifest.
        key = f"{self.folder}/account_bucket={bucket}/part-{uuid4().hex}.parquet"
        body = opened.sink.getvalue()
        self._files.append(WindowFile(key, bucket, opened.rows, body.size))
        self._free_uploads.acquire()
        self._uploading = [done for done in self._uploading if not _is_well(done)]
        self._uploading.append(self._uploader.submit(self._upload, key, body))

    def _upload(self, key: str, body: pa.Buffer) -> None:
        try:
            self.s3.put(key, body.to_pybytes())
        finally:
            self._free_uploads.release()


def _new_file(schema: pa.Schema) -> _OpenFile:
    sink = pa.BufferOutputStream()
    writer = pq.ParquetWriter(
        sink,
        schema,
        compression="zstd",
        compression_level=1,
        use_dictionary=sorted(_REPEATING),
        # Statistics of texts would hold copies, and no query filters by a count.
        write_statistics=[name for name in schema.names if name.endswith(("_id", "_at"))],
    )
    return _OpenFile(sink, writer)


def _is_well(done: "Future[Any]") -> bool:
    """Return whether an upload has ended. Raise its error."""
    return done.done() and done.result() is None


def by_bucket(rows: pa.Table) -> Iterator[tuple[int, pa.Table]]:
    """Yield each bucket with its rows, in their order. One sort, whatever the number of buckets."""
    buckets = rows["account_bucket"].to_numpy()
    order = np.argsort(buckets.astype(np.uint16), kind="stable")  # a radix sort
    present, starts = np.unique(buckets[order], return_index=True)
    ordered = rows.take(pa.array(order))
    for bucket, start, end in zip(present, starts, [*starts[1:], len(order)], strict=True):
        yield int(bucket), ordered.slice(start, end - start)
