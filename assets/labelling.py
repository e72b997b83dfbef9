"""Label posts by hand: which post is next, and the files of labels, one for each person and day.

The page writes a file after each label, by a conditional write: two windows of one person lose nothing.
"""

import datetime as dt
import io
from collections.abc import Callable
from dataclasses import dataclass, field

import polars as pl

from assets.labels.queue import NEXT_TO_LABEL
from assets.labels.votes import LANDING
from assets.lake import LAKE_ACCOUNTS, LAKE_POSTS
from assets.transforms.labels import page as labelling
from assets.transforms.labels.page import FILE_SCHEMA
from assets.transforms.labels.queue import in_order
from assets.transforms.search.codes import language_code, languages_of
from resources.delta.table import LakeResource
from resources.errors import TransientFailure
from resources.spend import store
from resources.spend.store import Store

FOLDER = f"{LANDING}page/"


class LabelNotKeptError(TransientFailure):
    """A label could not be written. The message says what to do."""


@dataclass(frozen=True)
class Item:
    """A post to label, and who posted it."""

    item_id: str
    text: str
    handle: str | None
    network: str | None


@dataclass(frozen=True)
class Labelling:
    """The queue of posts and the labels of the page, on the lake's S3."""

    lake: LakeResource
    store: Store
    now: Callable[[], dt.datetime] = field(default=lambda: dt.datetime.now(dt.UTC))
    _queues: dict[tuple[object, ...], pl.DataFrame] = field(default_factory=dict, repr=False, compare=False)

    def label(self, annotator: str, item_id: str, vertical: str, *, is_member: bool) -> None:
        """Keep a label. When this returns it is on S3. The last label of a post and vertical counts.

        Raises LabelNotKeptError.
        """
        at = self.now()
        self._change(
            annotator,
            at,
            lambda rows: labelling.with_label(rows, item_id, vertical, annotator, at, is_member=is_member),
        )

    def undo(self, annotator: str, vertical: str) -> str | None:
        """Take back the last label of today, and return its post; None if there is none."""
        at, taken = self.now(), list[str]()

        def change(rows: pl.DataFrame) -> pl.DataFrame:
            last = rows.filter(pl.col("vertical") == vertical)["item_id"].tail(1)
            taken[:] = last.to_list()
            return labelling.without_label(rows, last[0], vertical) if len(last) else rows

        self._change(annotator, at, change)
        return taken[0] if taken else None

    def labels(self, annotator: str) -> pl.DataFrame:
        """Return all labels that a person gave on the page, oldest first."""
        keys = sorted(self.store.keys(f"{FOLDER}{annotator}/"))
        found = [stored.body for key in keys if (stored := self.store.get(key)) is not None]
        return pl.concat([pl.DataFrame(schema=FILE_SCHEMA), *map(_rows, found)])

    def next_item(self, annotator: str, vertical: str, language: str | None = None, skipped: int = 0) -> Item | None:
        """Return the next post that the person has not labelled, after the first ``skipped``; None after the last.

        Deleted posts and posts of deleted accounts are left out.
        """
        is_of = pl.col("vertical") == vertical
        done = set(self.labels(annotator).filter(is_of)["item_id"])
        taken = set(self._labels_of_others(annotator).filter(is_of)["item_id"])
        queue = self._queue(vertical, language)
        buckets = dict(queue.select("item_id", "account_bucket").iter_rows())
        for item_id in in_order(queue, annotator, done, taken)[skipped:]:
            if (found := self.item(item_id, buckets[item_id])) is not None:
                return found
        return None

    def _labels_of_others(self, annotator: str) -> pl.DataFrame:
        """Return today's labels of the page that other people gave; earlier ones are in the queue's table."""
        day = f"/{self.now():%Y-%m-%d}.parquet"
        keys = [key for key in sorted(self.store.keys(FOLDER)) if key.endswith(day)]
        others = [key for key in keys if key != f"{FOLDER}{annotator}{day}"]
        found = [stored.body for key in others if (stored := self.store.get(key)) is not None]
        return pl.concat([pl.DataFrame(schema=FILE_SCHEMA), *map(_rows, found)])

    def item(self, item_id: str, bucket: int | None = None) -> Item | None:
        """Return a live post with its text; None if there is none."""
        live, is_it = pl.col("deleted_at").is_null(), pl.col("post_id") == item_id
        posts = self.lake.scan(LAKE_POSTS, bucket).filter(live, is_it).select("account_id", "text", "network").collect()
        if posts.is_empty() or not posts["text"][0]:
            return None
        account_id, text, network = posts.row(0)
        accounts = self.lake.scan(LAKE_ACCOUNTS, bucket).filter(live, pl.col("account_id") == account_id)
        handles = accounts.select("handle").collect()["handle"]
        return Item(item_id, text, handles[0], network) if len(handles) else None

    def _queue(self, vertical: str, language: str | None) -> pl.DataFrame:
        """Return the rows of label/next_to_label; read once for each version of the table."""
        snapshot = self.lake.snapshot(NEXT_TO_LABEL)
        key = (vertical, language, None if snapshot is None else snapshot.version)
        if key not in self._queues:
            self._queues.clear()
            rows = self.lake.scan(NEXT_TO_LABEL).filter(pl.col("vertical") == vertical)
            if language is not None:
                rows = rows.filter(pl.col("language").is_in(sorted(languages_of(language_code(language) or language))))
            self._queues[key] = rows.collect()
        return self._queues[key]

    def _change(self, annotator: str, at: dt.datetime, change: Callable[[pl.DataFrame], pl.DataFrame]) -> None:
        key = f"{FOLDER}{annotator}/{at:%Y-%m-%d}.parquet"

        def changed(body: bytes | None) -> bytes | None:
            before = pl.DataFrame(schema=FILE_SCHEMA) if body is None else _rows(body)
            after = change(before)
            return None if after.equals(before) else _file(after)

        try:
            store.change(self.store, key, changed)
        except store.ContendedObjectError:
            message = "The label was not kept: other windows of this person write too; send it again."
            raise LabelNotKeptError(message) from None


def _rows(body: bytes) -> pl.DataFrame:
    return pl.read_parquet(io.BytesIO(body)).select(pl.col(name).cast(dtype) for name, dtype in FILE_SCHEMA.items())


def _file(rows: pl.DataFrame) -> bytes:
    buffer = io.BytesIO()
    rows.write_parquet(buffer)
    return buffer.getvalue()
