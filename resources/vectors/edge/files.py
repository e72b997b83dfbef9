"""Reading the files of a Qdrant Edge shard without the engine: its write-ahead log and its compressed payloads."""

import re
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from resources.erasure.terms import Sightings
from resources.erasure.values import look_into_bytes

_BLOCK_BYTES = 128
_PAYLOAD_BYTES_AT_MOST = 16 << 20
_FIELD = re.compile(rb"[\x60-\x77](post_id|account_id|handle)([\x60-\x77]|\x78.|\x79..)", re.DOTALL)
"""A field of a payload in CBOR, and the head of its text, which says its length."""


def look_into_edge_file(path: Path, seen: Sightings) -> None:
    """One file of a shard: its bytes, the fields of logged points, and every compressed payload, freed ones too.

    In its bytes the account's id counts as a value of its own alone: points hold others' texts, too.

    Memory: the file; the engine makes them 32 MB long.
    """
    with path.open("rb") as file:
        look_into_bytes(file, seen, as_word=False)
    if path.parent.name == "payload_storage" and path.name.startswith("page_"):
        for payload in stored_payloads(path.read_bytes()):
            seen.json_text(payload.decode(errors="replace"))
    elif path.parent.name == "wal":
        for name, value in logged_fields(path.read_bytes()):
            seen.named(name, (value,))


def logged_fields(log: bytes) -> Iterator[tuple[str, str]]:
    """(name, text) of the ids in a write-ahead log, whose records are CBOR."""
    for found in _FIELD.finditer(log):
        head = found[2]
        length = head[0] - 0x60 if len(head) == 1 else int.from_bytes(head[1:], "big")
        yield found[1].decode(), log[found.end() : found.end() + length].decode(errors="replace")


def stored_payloads(page: bytes) -> Iterator[bytes]:
    """Every payload in a page, those of deleted points included: each begins at a block, compressed with LZ4.

    A block that is in the middle of a payload, or the rest of an overwritten one, does not decode and is passed over.
    """
    whole = len(page) // _BLOCK_BYTES * _BLOCK_BYTES
    heads = np.frombuffer(page[:whole], np.uint8).reshape(-1, _BLOCK_BYTES)[:, :5]
    following = 0
    for block in np.flatnonzero(heads.any(axis=1)):
        at = int(block) * _BLOCK_BYTES
        size = int.from_bytes(page[at : at + 4], "little")
        if at < following or not 0 < size < _PAYLOAD_BYTES_AT_MOST:
            continue
        decoded = lz4_block(page, at + 4, size)
        if decoded is not None:
            payload, following = decoded
            yield payload


def lz4_block(data: bytes, at: int, size: int) -> tuple[bytes, int] | None:
    """The ``size`` bytes that an LZ4 block at ``at`` holds, and where it ends; None where there is no such block.

    Libraries want to be told how long the compressed block is, which only the engine's own table says, and that
    has forgotten the deleted ones.
    """
    out, end = bytearray(), len(data)
    while at < end:
        token = data[at]
        at, length = _length(data, at + 1, token >> 4)
        out += data[at : at + length]
        at += length
        if len(out) >= size:
            return (bytes(out), at) if len(out) == size else None
        offset = int.from_bytes(data[at : at + 2], "little")
        at, length = _length(data, at + 2, token & 15)
        if not 0 < offset <= len(out):
            return None
        length += 4
        start = len(out) - offset
        if offset >= length:
            out += out[start : start + length]
        else:
            repeated = bytes(out[start:])
            out += (repeated * (length // offset + 1))[:length]
        if len(out) > size:
            return None
    return None


def _length(data: bytes, at: int, length: int) -> tuple[int, int]:
    if length == 15:
        while at < len(data):
            more = data[at]
            at += 1
            length += more
            if more != 255:
                break
    return at, length
