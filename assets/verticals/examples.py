"""The labelled posts that taggers are fitted on: their features, labels and accounts."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache

import numpy as np
import polars as pl

from assets.corpus import CHUNKS
from assets.embeddings import embedded, with_vectors
from assets.labels.gold import GOLD
from assets.transforms.verticals.scoring import ACCOUNT, POST
from assets.transforms.verticals.taggers.features import Vectors, features
from assets.transforms.verticals.taggers.interface import Floats, Method, Posts, Texts
from assets.transforms.verticals.taggers.labels import label_matrix
from resources.catalogues import Vertical, catalogue_hash
from resources.delta.table import LakeResource, fingerprint
from resources.models.embedder import EmbeddingModel

POSTS_PER_ACCOUNT = 50
"""The newest posts of a labelled account that are read beside its labelled posts."""
_SHIFT = 65
"""Of 128 bits, 63 are kept: a signed 64-bit number."""
MOST_CHANGED = 0.02
"""Share of labelled texts that may be edited before the methods are fitted again."""
_OF_CHUNKS = (
    *("account_bucket", "account_id", "post_id", "posted_at", "text_hash"),
    *("chunk_no", "content_hash", "text_language"),
)


@dataclass(frozen=True)
class Fit:
    """A fit that is stored: its version, and the hashes of the texts that it was made of."""

    version: str
    texts: Sequence[int]


@dataclass(frozen=True)
class Examples:
    """Rows (account_bucket, account_id, post_id, posted_at, text_hash) with features and labels, sorted by post_id.

    ``gold``: the labels of posts and of accounts, (item_kind, item_id, account_id, vertical, is_member).
    """

    rows: pl.DataFrame
    posts: Posts
    labels: Floats
    gold: pl.DataFrame

    @property
    def accounts(self) -> Texts:
        """The account of each row."""
        return self.rows["account_id"].to_numpy().astype(np.str_)


class LabelledPosts:
    """The posts with labels, and those of labelled accounts, at the current version of the tables."""

    def __init__(self, lake: LakeResource, verticals: Sequence[Vertical], model: EmbeddingModel) -> None:
        """Read the labels and the hashes of the texts; no vector yet."""
        self._lake, self._verticals, self._model = lake, verticals, model
        columns = ["item_kind", "item_id", "account_id", "vertical", "is_member"]
        labels = lake.scan(GOLD).select(*columns, "labelled_at").collect()
        self._gold = labels.select(columns).sort(columns[:4])
        posts = self._gold.filter(item_kind=POST)["item_id"].unique()
        seen = labels.filter(item_kind=ACCOUNT).group_by("account_id").agg(_until=pl.col("labelled_at").max())
        is_labelled = pl.col("post_id").is_in(posts.implode())
        # Who labelled the account did not see what it posted later, and a new post is no reason to fit again. If all
        # posts are later, a clock was wrong.
        was_seen = (pl.col("posted_at") <= pl.col("_until")).fill_null(value=True)
        is_of_account = pl.col("_is_of_account").fill_null(value=False)
        place = pl.col("posted_at").rank("dense", descending=True).over("account_id")
        self._chunks = (
            lake.scan(CHUNKS)
            .join(seen.with_columns(_is_of_account=True).lazy(), on="account_id", how="left")
            .filter(is_labelled | is_of_account)
            .filter(is_labelled | was_seen | ~was_seen.any().over("account_id"))
            .filter(is_labelled | (place <= POSTS_PER_ACCOUNT))
            .select(_OF_CHUNKS)
            .collect()
            .sort("post_id", "chunk_no")
        )

    @cached_property
    def texts(self) -> list[int]:
        """Hashes of the texts, one per post, sorted."""
        posts = self._chunks.group_by("post_id", maintain_order=True).agg("posted_at", "content_hash", "text_language")
        return sorted(int(fingerprint(map(str, row)), 16) >> _SHIFT for row in posts.iter_rows())

    @cached_property
    def _base(self) -> str:
        """Hash of labels, posts, catalogue and encoder: all that a fit depends on, but for the texts."""
        posts = self._chunks.select("account_id", "post_id").unique(maintain_order=True)
        rows = [str(part) for frame in (self._gold, posts) for row in frame.iter_rows() for part in row]
        return fingerprint([catalogue_hash(self._verticals), self._model.name, *rows])

    def version(self, method: Method, stored: Fit | None) -> str:
        """Return the version of a fit: the stored one while all but MOST_CHANGED of its texts are as they were.

        A few edits move every probability a little, and some tags over their threshold: all posts would be scored
        again, and many marts written. A label that changes, or a post that comes or goes, counts at once.
        """
        base = fingerprint([self._base, method.version])
        if stored is not None and stored.version.startswith(f"{base}/"):
            gone = Counter(stored.texts)
            gone.subtract(self.texts)
            if sum(found for found in gone.values() if found > 0) <= MOST_CHANGED * len(stored.texts):
                return stored.version
        return f"{base}/{fingerprint(map(str, self.texts))}"

    def read(self) -> Examples:
        """Read the vectors. Memory: 1.5 kB a chunk."""
        parts, read = [], []
        for (bucket,), rows in self._chunks.group_by("account_bucket", maintain_order=True):
            found, vectors = with_vectors(self._lake, bucket, rows, self._model)
            parts.append(found)
            read.append(vectors)
        chunks = pl.concat(parts) if parts else self._chunks
        vectors = np.concatenate(read) if read else np.empty((0, self._model.dimension), np.float32)
        is_read = vectors.any(axis=1)
        is_kept = pl.Series(is_read, dtype=pl.Boolean)
        posts, of_posts = features(chunks.filter(is_kept), vectors[is_read], describe(self._verticals, self._model))
        labels = label_matrix(posts, self._gold, [vertical.name for vertical in self._verticals])
        return Examples(posts, of_posts, labels, self._gold)


def describe(verticals: Sequence[Vertical], model: EmbeddingModel) -> dict[str, Vectors]:
    """Return vertical → vectors of its descriptions, embedded as posts are: they are texts of a post's kind."""
    described = tuple(found.descriptions for found in verticals)
    return dict(zip((found.name for found in verticals), _described(described, model), strict=True))


@lru_cache(maxsize=1)  # three assets of a run want the same vectors
def _described(descriptions: tuple[tuple[str, ...], ...], model: EmbeddingModel) -> list[Vectors]:
    return [embedded(model, texts) for texts in descriptions]
