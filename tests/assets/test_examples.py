"""What taggers are fitted on."""

from datetime import UTC, datetime, timedelta

import polars as pl
import pytest

from assets.corpus import CHUNKS
from assets.labels.gold import GOLD
from assets.verticals.examples import MOST_CHANGED, Fit, LabelledPosts
from assets.verticals.taggers import current_methods
from resources.catalogues import load_verticals
from resources.delta.table import LakeResource
from tests.fakes.embedder import CountingEmbedder

LABELLED = datetime(2026, 3, 1, tzinfo=UTC)
VERTICALS = load_verticals()[:2]


METHOD = next(iter(current_methods().values()))


def version(lake: LakeResource, stored: Fit | None = None) -> str:
    return LabelledPosts(lake, VERTICALS, CountingEmbedder()).version(METHOD, stored)


def fit(lake: LakeResource) -> Fit:
    return Fit(version(lake), LabelledPosts(lake, VERTICALS, CountingEmbedder()).texts)


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
    lake.append(GOLD, label("d", "d", LABELLED))
    before = version(lake)
    lake.append(CHUNKS, post("d/1", "d", 400))
    assert version(lake) != before, "where all posts are later than the label, they count"


def test_a_few_edited_texts_are_no_reason_to_fit_again(lake: LakeResource) -> None:
    number = 200
    few = int(MOST_CHANGED * number)
    lake.append(GOLD, pl.concat(label(f"p{n:03}", f"a{n}", None) for n in range(number)))
    lake.append(CHUNKS, pl.concat(post(f"p{n:03}", f"a{n}", -1) for n in range(number)))
    stored = fit(lake)
    edit(lake, range(few))
    assert version(lake) != stored.version, "without the stored texts every edit counts"
    assert version(lake, stored) == stored.version
    edit(lake, range(few))
    assert version(lake, stored) == stored.version, "the same posts again"
    edit(lake, range(few, few + 1))
    assert version(lake, stored) != stored.version
    edit(lake, range(few + 1), back=True)
    assert version(lake, stored) == stored.version, "edits that were taken back"


@pytest.mark.parametrize("change", ["a label", "a post that comes", "a post that goes"])
def test_labels_and_posts_count_at_once(lake: LakeResource, change: str) -> None:
    lake.append(GOLD, pl.concat(label(f"p{n:03}", f"a{n}", None) for n in range(200)))
    lake.append(CHUNKS, pl.concat(post(f"p{n:03}", f"a{n}", -1) for n in range(199)))
    stored = fit(lake)
    if change == "a label":
        lake.delete_where(GOLD, "item_id = 'p000'")
    elif change == "a post that comes":
        lake.append(CHUNKS, post("p199", "a199", -1))
    else:
        lake.delete_where(CHUNKS, "post_id = 'p000'")
    assert version(lake, stored) != stored.version


def edit(lake: LakeResource, numbers: range, *, back: bool = False) -> None:
    for n in numbers:
        rows = lake.scan(CHUNKS, 0).filter(post_id=f"p{n:03}").collect()
        content = f"p{n:03}" if back else f"{rows['content_hash'][0]}, edited"
        lake.delete_where(CHUNKS, f"post_id = 'p{n:03}'")
        lake.append(CHUNKS, rows.with_columns(content_hash=pl.lit(content)))
