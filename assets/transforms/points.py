"""What the index should hold, and what differs from what it holds.

Belongs here: payloads, their hashes, the comparison of (id, hash) pairs. Not here: an engine.
"""

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
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
    "text",
    "content_hash",
)


def payload_hash(payload: Mapping[str, Any]) -> str:
    """128 bits of BLAKE2b over the payload's JSON in UTF-8, keys sorted and without spaces, in hexadecimal."""
    return hashlib.blake2b(_canonical(payload), digest_size=16).hexdigest()


def _canonical(payload: Mapping[str, Any]) -> bytes:
    try:
        return orjson.dumps(payload, option=orjson.OPT_SORT_KEYS)
    except TypeError:  # of a foreign point: a number beyond 64 bits, which none of ours has
        return repr(sorted(payload.items())).encode(errors="surrogatepass")


def payloads(chunks: pl.DataFrame, tags: pl.DataFrame) -> dict[str, dict[str, Any]]:
    """Point id → payload, with its ``content_hash`` and ``payload_hash``.

    ``chunks`` are rows of the corpus, ``tags`` of vertical/tags. Counts that move all day are left out: they would
    rewrite every point every day. Absent values are left out too, so that engines agree on what a filter matches.
    """
    of_item: dict[tuple[str, str], list[str]] = {}
    for kind, item, vertical in tags.select("item_kind", "item_id", "vertical").sort("vertical").iter_rows():
        of_item.setdefault((kind, item), []).append(vertical)
    made: dict[str, dict[str, Any]] = {}
    for row in chunks.iter_rows(named=True):
        payload = {name: row[name] for name in SHOWN if row[name] is not None}
        if row["posted_at"] is not None:
            payload["posted_at"] = row["posted_at"].isoformat()
        payload["verticals"] = of_item.get(("account", row["account_id"]), [])
        payload["post_verticals"] = of_item.get(("post", row["post_id"]), [])
        made[row["point_id"]] = {**payload, "payload_hash": payload_hash(payload)}
    return made


@dataclass(frozen=True)
class IndexChanges:
    """Point ids by what has to happen to them; sorted, so that a rerun does the same."""

    new: list[str]
    reembedded: list[str]
    repayloaded: list[str]
    gone: list[str]
    unchanged: int


def compare(desired: Mapping[str, Mapping[str, Any]], held: Iterable[tuple[str, str, str]]) -> IndexChanges:
    """Compare desired payloads with (id, content_hash, payload_hash) of what the index holds."""
    known = {point: (content, payload) for point, content, payload in held}
    new = [point for point in desired if point not in known]
    shared = [point for point in desired if point in known]
    reembedded = [point for point in shared if known[point][0] != desired[point]["content_hash"]]
    repayloaded = [
        point
        for point in shared
        if known[point][0] == desired[point]["content_hash"] and known[point][1] != desired[point]["payload_hash"]
    ]
    gone = [point for point in known if point not in desired]
    unchanged = len(shared) - len(reembedded) - len(repayloaded)
    return IndexChanges(sorted(new), sorted(reembedded), sorted(repayloaded), sorted(gone), unchanged)
