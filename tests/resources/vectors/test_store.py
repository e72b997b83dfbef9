"""Reading a few vectors reads little: counted in the requests and bytes that a real S3 server is asked for."""

import numpy as np
import polars as pl
import pytest

from assets.embeddings import VECTORS
from resources.delta.file_cache import FILE_CACHE, KEPT_BYTES
from resources.delta.table import LakeResource
from resources.s3.client import S3Resource
from resources.s3.governor.process import running
from resources.vectors.store import VectorStore
from tests.worlds.governor_launcher import governor_home

DIMENSION = 64


def slice_of(name: str) -> int:
    """Ten texts in a row are of one account."""
    return int(name, 16) // 10 if name.isdigit() else 7


def rows(hashes: list[str], bucket: int = 0, model: str = "m", start: float = 0.0) -> pl.DataFrame:
    vectors = [[start + number] * DIMENSION for number in range(len(hashes))]
    return pl.DataFrame(
        {"account_bucket": [bucket] * len(hashes), "account_slice": list(map(slice_of, hashes)),
         "content_hash": hashes, "model": [model] * len(hashes), "vector": vectors},
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


def wanted(hashes: list[str]) -> pl.DataFrame:
    types = {"account_slice": pl.Int32, "content_hash": pl.String}
    return pl.DataFrame([list(map(slice_of, hashes)), hashes], schema=types)


def read(store: VectorStore, bucket: int, hashes: list[str], model: str = "m") -> dict[str, float]:
    found = store.read(bucket, wanted(hashes), model)
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


def test_a_text_that_another_account_had_first_is_found(store: VectorStore) -> None:
    """It lies where that account's vectors are, and has another slice there."""
    other = pl.DataFrame(
        {"account_slice": [900], "content_hash": names(33, 34)}, schema_overrides={"account_slice": pl.Int32}
    )
    assert store.read(0, other, "m")["vector"].to_list() == [[33.0] * DIMENSION]
    both = pl.concat([other, wanted([*names(33, 35), "unknown"])])
    assert sorted(store.read(0, both, "m")["content_hash"]) == names(33, 35)


def asked(s3: S3Resource) -> tuple[int, int]:
    """Requests and bytes that came of a test's bucket through the governors so far."""
    told = [prefix for governor in running(governor_home()) for prefix in governor.status()["prefixes"]]
    ours = [prefix for prefix in told if prefix["bucket"] == s3.bucket and prefix["verb"] == "read"]
    return sum(prefix["requests"] for prefix in ours), sum(prefix["bytes_down"] for prefix in ours)


def test_what_was_just_written_is_read_without_the_older_files(store: VectorStore, governed: S3Resource) -> None:
    store.append(rows(names(200, 202), start=200.0))
    lake = LakeResource(s3=governed)
    looking = VectorStore(lake, VECTORS)
    with lake.steady():
        lake.open(VECTORS)
        made = {f"{number:032x}": float(number) for number in (200, 201)}
        first, _ = asked(governed)
        assert read(looking, 0, names(200, 202)) == made
        before, _ = asked(governed)
        assert before == first, "the writer's process has it in memory"
        FILE_CACHE.keep("other files", bytes(KEPT_BYTES))
        assert read(looking, 0, names(200, 202)) == made
        between, _ = asked(governed)
        assert between - before == 1, "the newest file, whole"
        assert len(read(looking, 0, names(0, 1))) == 1
        after, _ = asked(governed)
        assert after - between == 6, "the other files of the bucket, newest first, until it was found"


def test_an_accounts_vectors_are_read_without_the_others(s3: S3Resource, governed: S3Resource) -> None:
    """Three accounts' hundred vectors each, of 6,000 in one file."""
    random = np.random.default_rng(5)
    hashes = [f"{number:032x}" for number in random.permutation(6_000)]
    vectors = random.normal(size=(6_000, 384)).astype(np.float32)
    of_account = [number // 100 for number in range(6_000)]
    VectorStore(LakeResource(s3=s3), VECTORS).append(
        pl.DataFrame(
            {
                "account_bucket": 0,
                "account_slice": of_account,
                "content_hash": hashes,
                "model": "m",
                "vector": vectors,
            },
            schema=VECTORS.polars_schema,
        )
    )
    lake = LakeResource(s3=governed)
    store = VectorStore(lake, VECTORS)
    chosen = pl.DataFrame(
        {"account_slice": of_account, "content_hash": hashes}, schema_overrides={"account_slice": pl.Int32}
    )
    chosen = chosen.filter(pl.col("account_slice").is_in([0, 29, 59]))
    with lake.steady():
        lake.open(VECTORS)
        requests, before = asked(governed)
        found = store.read(0, chosen, "m")
        after, down = asked(governed)
    assert set(found["content_hash"]) == set(chosen["content_hash"])
    assert 300 * 4 * 384 < down - before < 0.25 * vectors.nbytes
    assert after - requests < 25, "the end of the file, and three columns of some of its row groups"
