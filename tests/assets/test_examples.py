"""What taggers are fitted on."""

from datetime import UTC, datetime, timedelta

import polars as pl

from assets.corpus import CHUNKS
from assets.labels.gold import GOLD
from assets.verticals.examples import LabelledPosts
from resources.catalogues import load_verticals
from resources.delta.table import LakeResource
from tests.fakes.embedder import CountingEmbedder

LABELLED = datetime(2026, 3, 1, tzinfo=UTC)
VERTICALS = load_verticals()[:2]


def version(lake: LakeResource) -> str:
    return LabelledPosts(lake, VERTICALS, CountingEmbedder()).version


def post(post_id: str, account_id: str, days_after: int) -> pl.DataFrame:
    posted_at = LABELLED + timedelta(days=days_after)
    row = {"account_bucket": 0, "account_id": account_id, "post_id": post_id, "point_id": post_id, "chunk_no": 0}
    made = pl.DataFrame([{**row, "posted_at": posted_at, "content_hash": post_id, "text": post_id}])
    return pl.concat([CHUNKS.empty(), made], how="diagonal_relaxed")


def label(item_id: str, account_id: str, labelled_at: datetime | None) -> pl.DataFrame:
    kind = "account" if item_id == account_id else "post"
    row = (kind, item_id, account_id, VERTICALS[0].name, True, 1, 1.0, False, labelled_at, "v")
    return pl.DataFrame([row], schema=GOLD.polars_schema, orient="row")


def test_only_what_the_annotator_could_see_is_an_example(lake: LakeResource) -> None:
    """So a labelled account that goes on posting gives no reason to fit again."""
    lake.append(GOLD, pl.concat([label("a", "a", LABELLED), label("b/late", "b", LABELLED), label("c", "c", None)]))
    lake.append(CHUNKS, pl.concat([post("a/1", "a", -3), post("b/1", "b", -3), post("b/late", "b", 5)]))
    first = version(lake)
    lake.append(CHUNKS, pl.concat([post("a/2", "a", 1), post("b/2", "b", -1), post("stranger/1", "stranger", -1)]))
    assert version(lake) == first
    lake.append(CHUNKS, post("a/0", "a", -5))
    late = version(lake)
    assert late != first, "a post that the annotator could see came late"
    lake.append(CHUNKS, post("c/1", "c", 400))
    assert version(lake) != late, "where nobody said when the label was given, every post counts"
