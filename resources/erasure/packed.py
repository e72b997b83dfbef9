"""Compressed files and archives: the files inside them, decompressed as streams in bounded memory."""

import bz2
import gzip
import io
import lzma
import re
import tarfile
import zipfile
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, BinaryIO

import pyarrow as pa

from resources.errors import CippusError

_MOST_BYTES = 8 << 30
"""More than any file that people drop unpacks to. A file that is made to unpack without end stops here."""
_MOST_LAYERS = 4
_WHOLE_BYTES = 16 << 20
_HEAD_BYTES = 512
_ERRORS = (
    *(OSError, EOFError, ValueError, NotImplementedError, RuntimeError),
    *(zlib.error, lzma.LZMAError, zipfile.BadZipFile, tarfile.TarError),
)
SearchPlain = Callable[[str, BinaryIO], None]


class UnsearchableError(CippusError, ValueError):
    """The contents of a file cannot be searched; the message says why."""


@dataclass
class _Budget:
    left: int = _MOST_BYTES


class _Bounded(io.RawIOBase):
    """A source that can be read once, within a budget that all files of one object share."""

    def __init__(self, source: Any, budget: _Budget) -> None:
        self._source, self._budget = source, budget

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        data = self._source.read(len(buffer))
        self._budget.left -= len(data)
        if self._budget.left < 0:
            raise UnsearchableError(f"it unpacks to more than {_MOST_BYTES >> 30} GiB")
        buffer[: len(data)] = data
        return len(data)


def search_files(name: str, source: Any, search_plain: SearchPlain) -> Iterator[str]:
    """Call ``search_plain`` with each file in a source, which is its only one unless it is packed.

    The format is known by the first bytes. Yield a reason for each file whose contents were not searched, or not
    to their end. ``source`` is a binary file that can seek. A packed file is searched as it is too, for the names of
    its members.
    """
    head = source.read(_HEAD_BYTES)
    source.seek(0)
    if _format(head) is None and _sealed(head) is None:
        search_plain(name, source)
        return
    search_plain("", source)
    source.seek(0)
    yield from _search(name, source, head, search_plain, _Budget(), 0)


def _search(
    name: str, source: Any, head: bytes, search_plain: SearchPlain, budget: _Budget, layers: int
) -> Iterator[str]:
    if kind := _sealed(head):
        yield f"it is {kind}, which cannot be opened"
        return
    unpack = _format(head)
    if unpack is None:
        search_plain(name, source)
        return
    if layers == _MOST_LAYERS:
        yield f"it is packed more than {_MOST_LAYERS} times"
        return
    try:
        for inner_name, opened in unpack(name, source):
            reader = io.BufferedReader(_Bounded(opened, budget), _WHOLE_BYTES // 16)
            yield from _search(inner_name, reader, reader.peek(_HEAD_BYTES), search_plain, budget, layers + 1)
    except UnsearchableError as error:
        yield str(error)
    except _ERRORS as error:
        yield f"it cannot be unpacked to its end ({type(error).__name__})"


def _single(name: str, opened: Any) -> Iterator[tuple[str, Any]]:
    """Yield the only file of a compressed one: a.csv of a.csv.gz."""
    yield re.sub(r"\.(gz|bz2|xz|zst|lz4)$", "", name, flags=re.IGNORECASE), opened


def _gzip(name: str, source: Any) -> Iterator[tuple[str, Any]]:
    return _single(name, gzip.GzipFile(fileobj=source))


def _bz2(name: str, source: Any) -> Iterator[tuple[str, Any]]:
    return _single(name, bz2.BZ2File(source))


def _xz(name: str, source: Any) -> Iterator[tuple[str, Any]]:
    return _single(name, lzma.LZMAFile(source))


def _arrow(codec: str) -> Callable[[str, Any], Iterator[tuple[str, Any]]]:
    return lambda name, source: _single(name, pa.CompressedInputStream(pa.PythonFile(source, "r"), codec))


def _zip(name: str, source: Any) -> Iterator[tuple[str, Any]]:
    """Yield the members of a ZIP archive, which spreadsheets are too."""
    with zipfile.ZipFile(source if source.seekable() else _whole(source)) as archive:
        for member in archive.infolist():
            if member.flag_bits & 1:
                raise UnsearchableError("it is encrypted")
            with archive.open(member) as opened:
                yield f"{name}/{member.filename}", opened


def _tar(name: str, source: Any) -> Iterator[tuple[str, Any]]:
    with tarfile.open(fileobj=source, mode="r|") as archive:
        for member in archive:
            if member.isfile() and (opened := archive.extractfile(member)) is not None:
                yield f"{name}/{member.name}", opened


def _whole(source: Any) -> BinaryIO:
    """Return an archive inside another file, which can only be opened whole."""
    body = source.read(_WHOLE_BYTES + 1)
    if len(body) > _WHOLE_BYTES:
        raise UnsearchableError(f"it holds an archive of more than {_WHOLE_BYTES >> 20} MB")
    return io.BytesIO(body)


_FORMATS: tuple[tuple[re.Pattern[bytes], Callable[[str, Any], Iterator[tuple[str, Any]]]], ...] = (
    (re.compile(rb"\x1f\x8b\x08"), _gzip),
    (re.compile(rb"BZh[1-9]1AY&SY"), _bz2),
    (re.compile(rb"\xfd7zXZ\0"), _xz),
    (re.compile(rb"\x28\xb5\x2f\xfd"), _arrow("zstd")),
    (re.compile(rb"\x04\x22\x4d\x18"), _arrow("lz4")),
    (re.compile(rb"PK\x03\x04"), _zip),
    (re.compile(rb"(?s).{257}ustar"), _tar),
)
_SEALED = {
    b"7z\xbc\xaf\x27\x1c": "a 7z archive",
    b"Rar!\x1a\x07": "a RAR archive",
    b"-----BEGIN PGP MESSAGE": "encrypted with PGP",
    b"age-encryption.org/": "encrypted with age",
    b"Salted__": "encrypted with OpenSSL",
    b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1": "an old or encrypted Office document",
}


def _format(head: bytes) -> Callable[[str, Any], Iterator[tuple[str, Any]]] | None:
    return next((unpack for magic, unpack in _FORMATS if magic.match(head)), None)


def _sealed(head: bytes) -> str | None:
    return next((kind for magic, kind in _SEALED.items() if head.startswith(magic)), None)
