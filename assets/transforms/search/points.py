"""The points that the index should have, and their differences from its points."""

import hashlib
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import orjson
import polars as pl

SHOWN = (
    "post_id",
    "chunk_no",
    "account_id",
    "account_bucket",
    "handle",
    "network",
    "language",
    "country",
    "followers_tier",
    "text",
    "content_hash",
)
DIGEST = "payload_digest"
HASHES = ["point_id", "content_hash", DIGEST]
ADD, REWRITE, SET_PAYLOAD = "add", "rewrite", "set payload"
_FIELDS = sorted([*SHOWN, "posted_at", "verticals", "post_verticals"])
_DIGEST_BITS = 53
"""Every JSON reader represents integers of this size exactly."""


def payload_digest(payload: Mapping[str, Any]) -> int:
    """Return 53 bits of BLAKE2b over a payload's JSON: UTF-8, sorted keys, no spaces, null for a missing field."""
    return _digest_of(_canonical({**dict.fromkeys(_FIELDS), **payload}))


def is_payload(payload: Mapping[str, Any], wanted: Mapping[str, Any]) -> bool:
    """Return whether two payloads have equal JSON: for Python's ``==``, 5.0 is 5 and False is 0."""
    return _canonical(payload) == _canonical(wanted)


def _canonical(payload: Mapping[str, Any]) -> bytes:
    try:
        return orjson.dumps(payload, option=orjson.OPT_SORT_KEYS)
    except TypeError:  # a foreign point may have a number beyond 64 bits
        return repr(sorted(payload.items())).encode(errors="surrogatepass")


def _digest_of(text: bytes) -> int:
    head = hashlib.blake2b(text, digest_size=8).digest()
    return int.from_bytes(head, "big") >> (64 - _DIGEST_BITS)


def desired_points(chunks: pl.DataFrame, tags: pl.DataFrame) -> pl.DataFrame:
    """Return rows of ``point_id``, the payload's fields and its DIGEST, in the order of ``chunks``.

    ``chunks`` are rows of the corpus, ``tags`` of vertical/tags. Counts that change all day are left out: they would
    rewrite every point every day. Tiers of followers, each twice as large as the one below, seldom change.
    """
    points = chunks.select("point_id", *SHOWN, posted_at=pl.col("posted_at").dt.strftime("%Y-%m-%dT%H:%M:%S%.f%:z"))
    for name, kind, item in (("verticals", "account", "account_id"), ("post_verticals", "post", "post_id")):
        of_kind = tags.filter(pl.col("item_kind") == kind).group_by(pl.col("item_id").alias(item))
        earned = of_kind.agg(pl.col("vertical").sort().alias(name))
        points = points.join(earned, on=item, how="left", maintain_order="left").with_columns(
            pl.col(name).fill_null(pl.lit([], pl.List(pl.String)))
        )
    encoded = points.select(json=pl.struct(_FIELDS).struct.json_encode())["json"]
    digests = [_digest_of(text.encode()) for text in encoded.to_list()]
    return points.with_columns(pl.Series(DIGEST, digests, pl.Int64))


def payloads(points: pl.DataFrame) -> Iterator[dict[str, Any]]:
    """Yield the payload of each row of ``desired_points``, without null values: engines filter them differently."""
    for row in points.select(*_FIELDS, DIGEST).iter_rows(named=True):
        yield {name: value for name, value in row.items() if value is not None}


def compare(desired: pl.DataFrame, stored: pl.DataFrame) -> tuple[pl.DataFrame, list[str]]:
    """Return ``desired_points`` with a column ``action``, and the ids of the ``stored_points`` to delete.

    ``action`` is ADD, REWRITE for another text, SET_PAYLOAD for another payload of the same text, or null.
    """
    hashes = stored.select("point_id", _text="content_hash", _digest=DIGEST)
    action = (
        pl.when(pl.col("_text").is_null())
        .then(pl.lit(ADD))
        .when(pl.col("_text") != pl.col("content_hash"))
        .then(pl.lit(REWRITE))
        .when(pl.col("_digest") != pl.col(DIGEST))
        .then(pl.lit(SET_PAYLOAD))
    )
    joined = desired.join(hashes, on="point_id", how="left", maintain_order="left")
    others = stored.join(desired, on="point_id", how="anti")
    return joined.with_columns(action=action).drop("_text", "_digest"), others["point_id"].to_list()


def stored_points(hashes: Iterable[tuple[str, str, int]]) -> pl.DataFrame:
    """Return the points of an index as a table of HASHES, sorted by id, each id once."""
    schema = dict(zip(HASHES, (pl.String, pl.String, pl.Int64), strict=True))
    return pl.DataFrame(list(hashes), schema=schema, orient="row").unique("point_id").sort("point_id")
