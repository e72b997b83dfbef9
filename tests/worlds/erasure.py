"""An account to erase in a world of the lineage tests."""

import io
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import cache
from pathlib import Path

import polars as pl
import psycopg

from assets.erasure.erase import Erasing
from assets.erasure.points import every_point
from assets.lake import LAKE_POSTS
from resources.delta.state import LedgerResource
from resources.erasure.scan import Scan
from resources.erasure.tombstones import ErasureResource
from resources.llm.answers import FOLDER as ANSWERS
from resources.local_stack import EmbeddedStack
from resources.settings import bucket_count
from resources.vectors.values import IndexPoint
from tests.worlds.lineage import ERASURE_KEY, World
from tests.worlds.lineage_rows import (
    ACCOUNTS,
    FIRST,
    FIRST_AUDIENCE,
    FIRST_JUDGEMENTS,
    LABELLED,
    LAST,
    first_labels,
)
from tests.worlds.loaded import empty_world
from tests.worlds.snapshot import Snapshot

ERASED = FIRST
"""An account of bucket 0, with posts, testimonials, a reject, labels, and a text that other accounts share."""
MOVED_OUT, MOVED_IN = f"{ERASED}/1", f"{ACCOUNTS[1]}/1"
"""A post that moved to another account, and a post that came from another account."""
NEIGHBOUR = f"{ACCOUNTS[2]}/1"
"""Another account's post in the same bucket, with the same text as one of the account's."""
ECHO = f"{ACCOUNTS[7]}/1"
"""A deleted post of another bucket with the text of one of the account's posts: its vector was copied there."""
ECHOED_TEXT = f"{ERASED} talks about origami, part 4"
CANARIES = {
    "a text that was edited since": "canary-0-edited",
    "a text that stands": "canary-1-stands",
    "a biography": "canary-2-bio",
    "a testimonial": "canary-3-testimonial",
    "a testimonial that was rejected": "canary-4-rejected",
    "an audience that was dropped": "canary-5-ümlaut",
}
AUDIENCE = "landing/handed/first.csv"
"""A dropped file that no stage reads. The audience stage reads the world's own report."""
INDEX_GROUPS = ("qdrant", "search")
TABLE_GROUPS = ("corpus", "embedding", "label", "audience", "quarantine", "vertical", "summary", "mart", "quicksight")


OF_LABELS = ("label/issues", "label/next_to_label", "label/hard_negatives", "label/training_pairs")
"""They have rows of the account where its vertical has labels enough."""
MOMENTS = {
    "the tombstone stands, nothing is removed": ("after PUT .*/erasure/tombstones/", 1),
    "raw: the new file is there, the manifest is the old one": ("before PUT .*/raw/posts/.*/manifests/", 1),
    "raw: the manifest is the new one, the old file is there": ("after PUT .*/raw/posts/.*/manifests/", 1),
    "lake: the rows are gone, uncommitted": ("before PUT .*/lake/posts/_delta_log/0", 1),
    "the new generation is written, not served": ("before index swap", 1),
    "the new generation is served, the old one is there": ("before index drop", 1),
    "a table's log is cut, its files are there": ("after POST /[^/]*$", 6),
    "everything is gone, there is no receipt": ("before PUT .*/erasure/receipts/", 1),
}
"""State of the erasure → the event at which the attempt is killed, and its occurrence."""


def erasures(world: World) -> ErasureResource:
    return ErasureResource(s3=world.s3, key=ERASURE_KEY)


def erasing(world: World, vacuum: Callable[[], int] | None = None) -> Erasing:
    """Return the parts of an erasure in that world."""
    return Erasing(
        s3=world.s3,
        lake=world.lake,
        ledger=LedgerResource(s3=world.s3),
        erasures=erasures(world),
        embedder=world.embedding[0],
        qdrant=world.qdrant,
        scan=Scan(
            s3=world.s3,
            folders={"index": world.folder},
            engines=frozenset([world.folder]),
            points=lambda: _points(world),
        ),
        buckets=range(bucket_count()),
        update_tables=lambda: _settled(world, *TABLE_GROUPS),
        update_index=lambda: _settled(world, *INDEX_GROUPS),
        vacuum=vacuum,
    )


def _points(world: World) -> Iterator[tuple[str, IndexPoint]]:
    with world.qdrant.generations() as generations:
        yield from every_point(generations)


def _settled(world: World, *groups: str) -> None:
    embedded = dict(world.embedder.embedded)
    world.run_well(*groups)
    assert not world.embedded_texts, "an erasure embeds nothing"
    world.embedder.embedded.update(embedded)


@cache
def haunted_world(stack: EmbeddedStack, folder: Path) -> World:
    """Return a world where the account has current and historical data. Clone it; never change it."""
    world = empty_world(stack, "haunted", folder)
    with world.source() as connection:
        _write(connection, f"{ERASED}/0", CANARIES["a text that was edited since"])
        connection.execute(b"UPDATE accounts SET bio = %s WHERE account_id = %s", (CANARIES["a biography"], ERASED))
        for number, name in ((2, "a testimonial"), (3, "a testimonial that was rejected")):
            statement = b"UPDATE testimonials SET text = %s WHERE testimonial_id = %s"
            connection.execute(statement, (f"We call it {CANARIES[name]}.", f"testimonial-{number}"))
        _write(connection, ECHO, ECHOED_TEXT)
    world.s3.put(AUDIENCE, _audience(with_erased=True))
    world.run_well()
    table = world.lake.open(LAKE_POSTS)
    assert table is not None
    table.alter.set_table_properties({"delta.enableChangeDataFeed": "true"})
    with world.source() as connection:
        _write(connection, f"{ERASED}/0", CANARIES["a text that stands"], now=True)
        _move(connection, MOVED_OUT, LAST)
        _move(connection, MOVED_IN, ERASED)
        _write(connection, NEIGHBOUR, f"{ERASED} talks about telescope, part 2", now=True)
        _delete(connection, ECHO)
    world.run_well()
    _plant_crashed_attempts(world)
    return world


def without_the_account(stack: EmbeddedStack, folder: Path) -> Snapshot:
    """Return the final snapshot of that world without the account."""
    world = empty_world(stack, "unhaunted", folder)
    with world.source() as connection:
        _move(connection, MOVED_OUT, LAST)
        _write(connection, NEIGHBOUR, f"{ERASED} talks about telescope, part 2")
        _write(connection, ECHO, ECHOED_TEXT)
        _delete(connection, ECHO)
        connection.execute(b"DELETE FROM posts WHERE account_id = %s OR post_id = %s", (ERASED, MOVED_IN))
        connection.execute(b"DELETE FROM accounts WHERE account_id = %s", (ERASED,))
        connection.execute(b"DELETE FROM testimonials WHERE account_id = %s", (ERASED,))
    gone = {ERASED, MOVED_IN, *(f"{ERASED}/{number}" for number in range(5) if f"{ERASED}/{number}" != MOVED_OUT)}
    world.drop_labels("first", [label for label in first_labels(LABELLED) if label[1] not in gone])
    world.drop_judgements("first", [row for row in FIRST_JUDGEMENTS if row[2] not in gone and ERASED not in row[0]])
    world.s3.put(AUDIENCE, _audience(with_erased=False))
    others = [line for line in FIRST_AUDIENCE.splitlines() if not line.startswith(f"{ERASED};")]
    world.drop_audience("first-2026-03-01", "".join(f"{line}\n" for line in others))
    world.run_well()
    return snapshot(world)


def snapshot(world: World) -> Snapshot:
    """Return all rows, points and names of exported files, without update times, what is of them, and entity tags.

    Marts count days from these times: windows, recorded days, days of findings.
    """
    found = world.snapshot()
    tables = {name: rows.drop("updated_at", "source_etag", strict=False) for name, rows in found.tables.items()}
    for name, rows in tables.items():
        if name.startswith("mart/"):
            timed = [column for column in rows.columns if column in ("as_of", "posts_per_week") or "0d" in column]
            tables[name] = rows.drop(timed)
    days, findings = tables["mart/creator_days"], tables["mart/data_quality"]
    tables["mart/creator_days"] = days.select("account_id").unique().sort("account_id")
    place = ["source_table", "column", "reason"]
    tables["mart/data_quality"] = findings.group_by(place).agg(pl.sum("rows")).sort(place, nulls_last=True)
    return replace(found, tables=tables, files=dict.fromkeys(found.files, b""))


def _write(connection: "psycopg.Connection[object]", post: str, text: str, *, now: bool = False) -> None:
    moment = b", updated_at = clock_timestamp()" if now else b""
    connection.execute(b"UPDATE posts SET text = %s" + moment + b" WHERE post_id = %s", (text, post))


def _delete(connection: "psycopg.Connection[object]", post: str) -> None:
    statement = (
        b"UPDATE posts SET deleted_at = '2024-04-01T12:00:00Z', updated_at = clock_timestamp() WHERE post_id = %s"
    )
    connection.execute(statement, (post,))


def _move(connection: "psycopg.Connection[object]", post: str, account: str) -> None:
    statement = b"UPDATE posts SET account_id = %s, updated_at = clock_timestamp() WHERE post_id = %s"
    connection.execute(statement, (account, post))


def _audience(*, with_erased: bool) -> bytes:
    """Return a CSV with accounts by id and by handle, as Excel writes it."""
    rows = [f"{ACCOUNTS[3]};{ACCOUNTS[3].title()};12,5"]
    if with_erased:
        rows = [f'{ERASED};x;"1;{CANARIES["an audience that was dropped"]}"', *rows, f";{ERASED.title()};3"]
    return "\r\n".join(["account_id;handle;share", *rows, ""]).encode()


def _plant_crashed_attempts(world: World) -> None:
    """Plant the leftovers of killed runs and of other Delta writers: unreferenced files, compacted logs."""
    log = "lake/posts/_delta_log/"
    bodies = {item.key: world.s3.get(item.key) or b"" for item in world.s3.list_objects("lake/posts/")}
    data = next(key for key in sorted(bodies) if "account_bucket=0/" in key and "_change_data" not in key)
    commits = [bodies[key] for key in sorted(bodies) if key.startswith(log) and key.endswith(".json")]
    world.s3.put("lake/posts/account_bucket=0/part-of-a-killed-run.parquet", bodies[data])
    world.s3.put(f"{log}{0:020d}.{1:020d}.compacted.json", b"".join(commits))
    for name, owners in (("own", [ERASED, LAST]), ("other", [LAST]), ("unknown", [])):
        world.s3.put_json(f"{ANSWERS}/summary/{name}.json", {"id": name, "text": "It says.", "account_ids": owners})
    raw = next(key for key in world.objects() if key.startswith("raw/posts/") and "account_bucket=0/" in key)
    world.s3.put(f"{raw.rpartition('/')[0]}/part-of-a-killed-run.parquet", world.s3.get(raw) or b"")


def leave_an_upload_unfinished(world: World) -> None:
    """Leave a multipart upload unfinished, as a killed process does. A clone has none."""
    client, body = world.s3.client, b"rows of somebody"
    upload = client.create_multipart_upload(Bucket=world.s3.bucket, Key="raw/posts/unfinished.parquet")
    client.upload_part(Bucket=world.s3.bucket, Key=upload["Key"], UploadId=upload["UploadId"], PartNumber=1, Body=body)


def parquet_rows(world: World, key: str) -> pl.DataFrame:
    return pl.read_parquet(io.BytesIO(world.s3.get(key) or b""))
