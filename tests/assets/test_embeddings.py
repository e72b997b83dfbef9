"""The embedding stage by itself: what reaches the model, what is copied, what is read, and what is said meanwhile."""

import re
from collections.abc import Iterator, Mapping, Sequence

import dagster as dg
import numpy as np
import polars as pl
import pytest
from numpy.typing import NDArray

from assets import embeddings
from assets.corpus import CHUNKS
from assets.embeddings import VECTORS, MissingVectorError, with_vectors
from assets.framework.reporting import run_totals
from assets.transforms.text.corpus import content_hash
from assets.verticals import held_out, scores, taggers, thresholds
from pipelines.checks.embeddings import vectors_unit_length
from pipelines.checks.evaluation import judge
from pipelines.checks.verticals import every_item_scored
from resources.delta.state import LedgerResource
from resources.delta.table import LakeResource
from resources.s3.client import S3Resource
from resources.vectors.store import VectorLengthError, VectorStore
from tests.fakes.embedder import CountingEmbedder, CountingEmbedderResource, counting_embedder

Embedding = tuple[CountingEmbedderResource, CountingEmbedder]


@pytest.fixture
def embedding() -> Embedding:
    return counting_embedder()


def chunks(texts: Mapping[str, str], bucket: int = 0) -> pl.DataFrame:
    """Chunks of one bucket: point id → text."""
    rows = [
        {
            "account_bucket": bucket,
            "point_id": point,
            "content_hash": content_hash(text),
            "text": text,
            "tokens": len(text.split()),
        }
        for point, text in texts.items()
    ]
    return pl.concat([CHUNKS.empty(), pl.DataFrame(rows)], how="diagonal_relaxed")


def run(s3: S3Resource, embedding: Embedding, *buckets: int) -> Mapping[str, int]:
    """Materialize the stage for some buckets in one run; returns its metadata, having cleared the counter before."""
    embedding[1].embedded.clear()
    fresh = S3Resource(**{name: getattr(s3, name) for name in S3Resource.model_fields})
    resources = {"lake": LakeResource(s3=fresh), "ledger": LedgerResource(s3=fresh), "embedder": embedding[0]}
    first, last = str(min(buckets or (0,))), str(max(buckets or (0,)))
    tags = {"dagster/asset_partition_range_start": first, "dagster/asset_partition_range_end": last}
    result = dg.materialize([embeddings.vectors], resources=resources, tags=tags)
    [totals] = run_totals(result).values()
    metadata = {name: value.value for name, value in totals.items()}
    return {name: value for name, value in metadata.items() if isinstance(value, int)}


def held(lake: LakeResource, bucket: int, model: str = "fake@1") -> dict[str, list[float]]:
    rows = lake.scan(VECTORS, bucket).filter(pl.col("model") == model).select("content_hash", "vector").collect()
    assert rows["content_hash"].is_unique().all()
    return dict(rows.iter_rows())


@pytest.mark.filterwarnings("ignore:InitResourceContext.dagster_run is deprecated:DeprecationWarning")
class TestStage:
    def test_a_text_is_embedded_once_however_often_it_is_said(
        self, lake: LakeResource, s3: S3Resource, embedding: Embedding
    ) -> None:
        lake.append(CHUNKS, chunks({"p1": "same words", "p2": "same words", "p3": "others"}))
        lake.append(CHUNKS, chunks({"q1": "same words", "q2": "its own"}, bucket=1))
        report = run(s3, embedding, 0, 1)
        assert embedding[1].embedded == {"same words": 1, "others": 1, "its own": 1}
        assert (report["embedded"], report["copied"]) == (3, 1)
        assert held(lake, 0).keys() == {content_hash("same words"), content_hash("others")}
        assert held(lake, 1)[content_hash("same words")] == held(lake, 0)[content_hash("same words")]

    def test_moved_copied_and_deleted_text_costs_nothing(
        self, lake: LakeResource, s3: S3Resource, embedding: Embedding
    ) -> None:
        lake.append(CHUNKS, chunks({"p1": "moves to bucket 2", "p2": "is copied", "p3": "is deleted"}))
        run(s3, embedding, 0)
        lake.sync(CHUNKS, chunks({"p2": "is copied", "p4": "is copied"}), bucket=0)
        lake.sync(CHUNKS, chunks({"p1": "moves to bucket 2", "q": "is copied"}, bucket=2), bucket=2)
        report = run(s3, embedding, 0, 2)
        assert not embedding[1].embedded
        assert (report["embedded"], report["copied"]) == (0, 2)
        assert held(lake, 2).keys() == {content_hash("moves to bucket 2"), content_hash("is copied")}

    def test_only_changed_texts_are_embedded(self, lake: LakeResource, s3: S3Resource, embedding: Embedding) -> None:
        texts = {f"p{number}": f"text number {number}" for number in range(500)}
        lake.append(CHUNKS, chunks(texts))
        run(s3, embedding)
        assert sum(embedding[1].embedded.values()) == 500
        edited = {"p7": "edited", "p77": "edited too"}
        lake.sync(CHUNKS, chunks({**texts, **edited}), bucket=0)
        assert run(s3, embedding)["embedded"] == 2
        assert embedding[1].embedded == {"edited": 1, "edited too": 1}
        version = lake.create(VECTORS).version()
        report = run(s3, embedding)
        assert (report["embedded"], report["copied"], report["buckets_skipped"]) == (0, 0, 1)
        assert lake.create(VECTORS).version() == version

    def test_another_model_is_a_generation_beside_the_old(
        self, lake: LakeResource, s3: S3Resource, embedding: Embedding, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        lake.append(CHUNKS, chunks({"p1": "one", "p2": "two"}))
        run(s3, embedding)
        before = held(lake, 0)
        monkeypatch.setattr(embedding[1], "name", "fake@2")
        monkeypatch.setattr(embedding[1], "vector", lambda text: np.eye(384, dtype=np.float32)[len(text)])
        assert run(s3, embedding)["embedded"] == 2
        assert held(lake, 0) == before
        assert held(lake, 0, "fake@2").keys() == before.keys()
        rows = pl.DataFrame({"account_id": ["a"], "content_hash": [content_hash("one")]})
        _, of_new = with_vectors(lake, 0, rows, embedding[1])
        np.testing.assert_array_equal(of_new, np.eye(384, dtype=np.float32)[[3]])
        monkeypatch.setattr(embedding[1], "name", "fake@1")
        _, of_old = with_vectors(lake, 0, rows, embedding[1])
        np.testing.assert_array_equal(of_old[0], np.array(before[content_hash("one")], np.float32))
        assert run(s3, embedding)["embedded"] == 0, "going back costs nothing"

    def test_windows_and_commits_are_bounded_and_progress_is_said(
        self,
        lake: LakeResource,
        s3: S3Resource,
        embedding: Embedding,
        monkeypatch: pytest.MonkeyPatch,
        capfd: pytest.CaptureFixture[str],
    ) -> None:
        monkeypatch.setattr(embeddings, "WINDOW_TEXTS", 40)
        monkeypatch.setattr(embeddings, "FLUSH_VECTORS", 15)
        monkeypatch.setattr(embedding[1], "_batch_size", 5)
        asked: list[list[str]] = []
        embed = embedding[1].embed

        def noted(texts: Sequence[str]) -> Iterator[tuple[list[int], NDArray[np.float32]]]:
            asked.append(list(texts))
            return embed(texts)

        monkeypatch.setattr(embedding[1], "embed", noted)
        texts = {f"p{number}": " ".join(["word"] * (number % 9 + 1) + [str(number)]) for number in range(100)}
        lake.append(CHUNKS, chunks(texts))
        assert run(s3, embedding)["embedded"] == 100
        assert [len(window) for window in asked] == [40, 40, 20]
        for window in asked:
            lengths = [len(text.split()) for text in window]
            assert lengths == sorted(lengths, reverse=True), "a window is sorted by length"
        said = re.findall(
            r"bucket 0: (\d+) of 100 texts embedded, \d+ a second, about (\d+) s left", capfd.readouterr().err
        )
        assert [int(done) for done, _ in said] == [15, 30, 40, 55, 70, 80, 95, 100]
        assert said[-1][1] == "0"
        assert lake.create(VECTORS).version() == len(said), "one commit each after the table's creation"
        for text in texts.values():
            np.testing.assert_allclose(held(lake, 0)[content_hash(text)], embedding[1].vector(text))

    def test_what_was_written_before_a_crash_is_not_embedded_again(
        self, lake: LakeResource, s3: S3Resource, embedding: Embedding, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(embeddings, "FLUSH_VECTORS", 10)
        monkeypatch.setattr(embedding[1], "_batch_size", 10)
        lake.append(CHUNKS, chunks({f"p{number}": f"text {number}" for number in range(30)}))
        embed = embedding[1].embed

        def breaks(texts: Sequence[str]) -> Iterator[tuple[list[int], NDArray[np.float32]]]:
            for number, batch in enumerate(embed(texts)):
                if number == 2:
                    raise RuntimeError("the encoder is gone")  # not one that is tried again
                yield batch

        monkeypatch.setattr(embedding[1], "embed", breaks)
        with pytest.raises(dg.Failure, match="the encoder is gone"):
            run(s3, embedding)
        assert len(held(lake, 0)) == 20
        monkeypatch.setattr(embedding[1], "embed", embed)
        assert run(s3, embedding)["embedded"] == 10
        assert len(held(lake, 0)) == 30


def test_vectors_of_another_length_are_named(lake: LakeResource) -> None:
    fake = CountingEmbedder()
    rows = [(0, 1, content_hash(text), fake.name, [1.0] * length) for text, length in (("a", 384), ("b", 8))]
    lake.append(VECTORS, pl.DataFrame(rows, schema=VECTORS.polars_schema, orient="row"))
    hashes = pl.DataFrame({"account_id": ["a", "a"], "content_hash": [content_hash("a"), content_hash("b")]})
    with pytest.raises(
        MissingVectorError, match="1 texts of bucket 0 have vectors of another length than fake@1's 384"
    ):
        with_vectors(lake, 0, hashes, fake)


def test_the_length_of_a_models_vectors_is_known(lake: LakeResource) -> None:
    store = VectorStore(lake, VECTORS)
    assert store.dimension("one@1") is None
    for model, length in (("one@1", 8), ("two@1", 5)):
        rows = [(number % 2, 1, content_hash(f"{number}"), model, [1.0] * length) for number in range(6)]
        store.append(pl.DataFrame(rows, schema=VECTORS.polars_schema, orient="row"))
    assert [store.dimension(name) for name in ("one@1", "two@1", "three@1")] == [8, 5, None]
    odd = pl.DataFrame([(0, 1, content_hash("odd"), "one@1", [1.0] * 9)], schema=VECTORS.polars_schema, orient="row")
    for asked in (store, VectorStore(lake, VECTORS)):
        with pytest.raises(VectorLengthError, match="one@1 gives vectors of 9 numbers, but its stored vectors have 8"):
            asked.append(odd)
    assert lake.scan(VECTORS).collect().height == 12


def test_vectors_come_in_the_rows_order(lake: LakeResource) -> None:
    fake = CountingEmbedder()
    texts = [f"text {number}" for number in range(6)]
    for part in (texts[:4], texts[4:]):
        rows = [(0, 1, content_hash(text), fake.name, fake.vector(text).tolist()) for text in part]
        lake.append(VECTORS, pl.DataFrame(rows, schema=VECTORS.polars_schema, orient="row"))
    wanted = [texts[5], texts[0], texts[5], texts[3]]
    hashes = pl.DataFrame({"account_id": ["a", "b", "a", "c"], "content_hash": list(map(content_hash, wanted))})
    returned, found = with_vectors(lake, 0, hashes, fake)
    assert returned.equals(hashes)
    np.testing.assert_array_equal(found, np.stack([fake.vector(text) for text in wanted]))


def test_a_missing_vector_is_named(lake: LakeResource) -> None:
    rows = pl.DataFrame({"account_id": ["a", "b"], "content_hash": ["nowhere", "nor there"]})
    with pytest.raises(MissingVectorError, match="2 texts of bucket 3 have no vector: materialize embedding"):
        with_vectors(lake, 3, rows, CountingEmbedder())
    _, none = with_vectors(lake, 3, rows.clear(), CountingEmbedder())
    assert none.shape == (0, 384)


@pytest.mark.filterwarnings("ignore:InitResourceContext.dagster_run is deprecated:DeprecationWarning")
def test_a_text_that_the_model_cannot_read_has_no_vector_and_no_score(
    lake: LakeResource, s3: S3Resource, embedding: Embedding
) -> None:
    resource, model = embedding
    model.unreadable |= {"สวัสดี", "🍕", "ราตรีสวัสดิ์"}
    posts = {"p1": "สวัสดี", "p2": "a text", "p3": "🍕", "p4": "ราตรีสวัสดิ์"}
    rows = chunks(posts).with_columns(post_id="point_id", account_id=pl.lit("a"), text_hash="content_hash")
    lake.append(CHUNKS, rows.with_columns(pl.when(pl.col("post_id") == "p4").then(pl.lit("b")).otherwise("account_id")))
    report = run(s3, embedding, 0)
    assert (report["embedded"], report["unreadable"]) == (1, 3)
    assert model.embedded == {"a text": 1}
    vectors = held(lake, 0)
    assert {text for text in posts.values() if not any(vectors[content_hash(text)])} == model.unreadable
    assert run(s3, embedding, 0).get("unreadable", 0) == 0, "it is looked at once"
    ledger = LedgerResource(s3=s3)
    dg.materialize(
        [taggers.taggers, held_out.held_out, thresholds.thresholds, scores.scores],
        resources={"lake": lake, "ledger": ledger, "embedder": resource},
        tags={"dagster/asset_partition_range_start": "0", "dagster/asset_partition_range_end": "0"},
    )
    assert set(lake.scan(scores.SCORES, 0).collect()["item_id"]) == {"p2", "a"}
    for check in (vectors_unit_length, every_item_scored):
        verdict = judge(check, {"lake": lake, "ledger": ledger, "embedder": resource}, [0])
        assert verdict is not None
        assert (verdict.found, verdict.metadata.get("unreadable", 3)) == (0, 3)
