"""Reading a few vectors reads little: counted in the requests and bytes that a real S3 server is asked for."""

import numpy as np
import polars as pl
import pytest
from governors import governor_home

from assets.embeddings import VECTORS
from resources.governor_process import running
from resources.lake import LakeResource
from resources.s3 import S3Resource
from resources.vector_store import VectorStore

DIMENSION = 64


def rows(hashes: list[str], bucket: int = 0, model: str = "m", start: float = 0.0) -> pl.DataFrame:
    vectors = [[start + number] * DIMENSION for number in range(len(hashes))]
    return pl.DataFrame(
        {"account_bucket": [bucket] * len(hashes), "content_hash": hashes, "model": [model] * len(hashes),
         "vector": vectors},
        schema=VECTORS.polars_schema,
    )  # fmt: skip


def names(first: int, last: int) -> list[str]:
    return [f"{number:032x}" for number in range(first, last)]


@pytest.fixture
def store(lake: LakeResource) -> VectorStore:
    found = VectorStore(lake, VECTORS)
    for first in range(0, 100, 20):
        found.append(rows(names(first, first + 20), start=float(first)))
    found.append(rows(names(0, 5), bucket=1, start=500))
    found.append(rows(names(0, 50), model="other", start=900))
    return found


def read(store: VectorStore, bucket: int, hashes: list[str], model: str = "m") -> dict[str, float]:
    found = store.read(bucket, pl.Series("content_hash", hashes, pl.String), model)
    return {name: vector[0] for name, vector in found.iter_rows()}


@pytest.mark.parametrize("hashes", [names(7, 8), names(0, 100), names(90, 100), names(15, 25)])
def test_vectors_are_found_wherever_they_are(store: VectorStore, hashes: list[str]) -> None:
    assert read(store, 0, hashes) == {name: float(int(name, 16)) for name in hashes}


def test_bucket_and_model_are_kept_apart(store: VectorStore) -> None:
    assert read(store, 1, names(3, 8)) == {f"{number:032x}": 500.0 + number for number in (3, 4)}
    assert read(store, 0, names(3, 4), "other") == {f"{3:032x}": 903.0}
    assert read(store, 0, names(60, 61), "other") == {}
    assert read(store, 7, names(3, 4)) == {}
    assert read(store, 0, []) == {}


def test_repeated_hashes_and_unknown_ones(store: VectorStore) -> None:
    assert read(store, 0, [*names(3, 4), *names(3, 4), "unknown"]) == {f"{3:032x}": 3.0}


def test_a_table_that_does_not_exist_has_no_vectors(lake: LakeResource) -> None:
    store = VectorStore(lake, VECTORS)
    assert read(store, 0, names(0, 3)) == {}
    assert store.known(pl.DataFrame({"content_hash": names(0, 3)}), "m").is_empty()


def test_known_hashes_say_their_buckets(store: VectorStore) -> None:
    found = store.known(pl.DataFrame({"content_hash": [*names(4, 6), "unknown"]}), "m")
    assert sorted(found.rows()) == [(0, f"{4:032x}"), (0, f"{5:032x}"), (1, f"{4:032x}")]


def test_what_was_just_written_is_read_without_the_older_files(
    store: VectorStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    store.append(rows(names(200, 202), start=200.0))
    opened: list[str] = []
    scan = pl.scan_parquet

    def noted(path: str, **options: object) -> pl.LazyFrame:
        opened.append(path)
        return scan(path, **options)  # type: ignore[arg-type]

    monkeypatch.setattr(pl, "scan_parquet", noted)
    assert read(store, 0, names(200, 202)) == {f"{number:032x}": float(number) for number in (200, 201)}
    assert len(opened) == 1
    opened.clear()
    assert len(read(store, 0, names(0, 1))) == 1
    assert len(opened) == 7, "all files of the bucket, newest first, until it was found"


def bytes_down(s3: S3Resource) -> int:
    """What came of a test's bucket through the governors so far."""
    told = [prefix for governor in running(governor_home()) for prefix in governor.status()["prefixes"]]
    return sum(prefix["bytes_down"] for prefix in told if prefix["bucket"] == s3.bucket)


def test_vectors_that_were_written_together_are_read_without_the_others(s3: S3Resource, governed: S3Resource) -> None:
    """Three accounts' hundred vectors each, of 6,000 in one file."""
    random = np.random.default_rng(5)
    hashes = [f"{number:032x}" for number in random.permutation(6_000)]
    vectors = random.normal(size=(6_000, 384)).astype(np.float32)
    VectorStore(LakeResource(s3=s3), VECTORS).append(
        pl.DataFrame(
            {"account_bucket": 0, "content_hash": hashes, "model": "m", "vector": vectors}, schema=VECTORS.polars_schema
        )
    )
    store = VectorStore(LakeResource(s3=governed), VECTORS)
    wanted = [name for first in (0, 2_950, 5_900) for name in hashes[first : first + 100]]
    before = bytes_down(governed)
    found = store.read(0, pl.Series("content_hash", wanted, pl.String), "m")
    down = bytes_down(governed) - before
    assert dict(found.iter_rows()).keys() == set(wanted)
    assert 300 * 4 * 384 < down < 0.35 * vectors.nbytes
