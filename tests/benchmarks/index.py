"""Measure the index: filling it beside the bare engine, searching it, and a small change of the lineage.

200,000 points of 384 numbers go into Edge through our index and through a bare upsert loop, in alternating blocks of
one run. Then 100,000 real-length posts go through the embedded lineage with the real model, 0.1 % of them change, and
it runs again (index_change.py).
"""

import statistics
import tempfile
import time
import uuid
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import qdrant_edge as edge
from numpy.typing import NDArray
from rich.console import Console

from assets.transforms.search.points import DIGEST, payload_digest
from assets.transforms.search.recall import ExactNeighbours
from resources.vectors.edge.generations import EdgeGenerations
from resources.vectors.edge.shard import create_shard
from resources.vectors.generations import IndexConfig
from resources.vectors.index import BATCH_POINTS, VectorIndex
from resources.vectors.values import DENSE, SPARSE, IndexPoint, SearchFilter, SparseVector
from tests.benchmarks import BenchResult, Target
from tests.benchmarks.index_change import measure_change

POINTS, BLOCK, QUERIES = 200_000, 10_000, 100
DIMENSION, CLUSTERS, K = 384, 2_000, 10
CHANGED_POSTS = 100_000
LEAST_OF_BARE_LOOP = 0.85
_NOISE = 0.6
"""Distance from a cluster's centre: neighbours within a cluster differ, and clusters touch."""
_SEED = 20_260_702


def block_of_points(number: int, count: int) -> list[IndexPoint]:
    """Return points around seeded centres, with a dozen terms and the lineage's payload."""
    random = np.random.default_rng((_SEED, number))
    dense = _vectors(random, count)
    points = []
    for row in range(count):
        post = f"post-{number}-{row}"
        terms = np.unique(random.zipf(1.3, 12).astype(np.uint64) % 2**31).astype(np.uint32)
        payload = {
            "post_id": post,
            "chunk_no": 0,
            "account_id": f"account-{random.integers(0, 2_000)}",
            "account_bucket": int(random.integers(0, 8)),
            "handle": f"creator{random.integers(0, 2_000)}",
            "network": "youtube",
            "language": "en",
            "country": "US",
            "text": " ".join(f"word{term}" for term in terms),
            "content_hash": uuid.uuid5(uuid.NAMESPACE_URL, post).hex,
            "posted_at": "2024-05-01T12:00:00+00:00",
            "verticals": ["food"],
            "post_verticals": [],
        }
        sparse = SparseVector(terms, np.ones(len(terms), np.float32))
        payload[DIGEST] = payload_digest(payload)
        points.append(IndexPoint(str(uuid.uuid5(uuid.NAMESPACE_OID, post)), dense[row], sparse, payload))
    return points


def _vectors(random: np.random.Generator, count: int) -> NDArray[np.float32]:
    centres = np.random.default_rng(_SEED).normal(size=(CLUSTERS, DIMENSION)).astype(np.float32)
    noise = random.normal(size=(count, DIMENSION)).astype(np.float32) * _NOISE
    near = centres[random.integers(0, CLUSTERS, count)] + noise
    return np.asarray(near / np.linalg.norm(near, axis=1, keepdims=True), np.float32)


def bare_upsert(shard: edge.EdgeShard, points: Sequence[IndexPoint]) -> None:
    """Fill the engine with a plain loop."""
    for start in range(0, len(points), BATCH_POINTS):
        batch = [
            edge.Point(
                point.id,
                {
                    DENSE: point.dense.tolist(),
                    SPARSE: edge.SparseVector(point.sparse.indices.tolist(), point.sparse.values.tolist()),
                },
                dict(point.payload),
            )
            for point in points[start : start + BATCH_POINTS]
        ]
        shard.update(edge.UpdateOperation.upsert_points(batch))


def _blocks(points: int, block: int) -> Iterator[tuple[int, int]]:
    for start in range(0, points, block):
        yield start // block, min(block, points - start)


def fill(
    index: VectorIndex, shard: edge.EdgeShard, points: int, block: int, console: Console
) -> list[tuple[float, float]]:
    """Return the seconds of each block through our index and through the plain loop; the order alternates."""
    rounds = []
    for number, count in _blocks(points, block):
        made, seconds = block_of_points(number, count), {}
        for name in ("index", "bare") if number % 2 else ("bare", "index"):
            started = time.perf_counter()
            if name == "index":
                index.upsert(made)
            else:
                bare_upsert(shard, made)
            seconds[name] = time.perf_counter() - started
        rounds.append((seconds["index"], seconds["bare"]))
        console.print(f"{number * block + count:,} of {points:,} points", highlight=False)
    return rounds


def search(index: VectorIndex, points: int, block: int, queries: int) -> dict[str, float]:
    """Return milliseconds of a search (percentiles 50 and 95), and recall@10 against exact cosines."""
    asked = _vectors(np.random.default_rng((_SEED, 1_000_000)), queries)
    found, seconds = [], []
    for query in asked:
        started = time.perf_counter()
        hits = index.search_dense(query, SearchFilter(), K)
        seconds.append(time.perf_counter() - started)
        found.append([hit.id for hit in hits])
    exact = ExactNeighbours(asked, found, K)
    for number, count in _blocks(points, block):
        made = block_of_points(number, count)
        exact.add([point.id for point in made], np.stack([point.dense for point in made]))
    p50, p95 = np.percentile(seconds, [50, 95]) * 1_000
    return {"search_p50_ms": float(p50), "search_p95_ms": float(p95), "recall_at_10": exact.recall()}


def measure_filling(console: Console, points: int, block: int, queries: int) -> dict[str, float]:
    """Return figures of filling, indexing and searching."""
    with (
        tempfile.TemporaryDirectory(prefix="cippus-") as folder,
        EdgeGenerations.lock(Path(folder), 1.0) as generations,
    ):
        index_config = IndexConfig("bench", DIMENSION, "bench")
        index = generations.open(generations.create(index_config))
        create_shard(Path(folder) / "bare", index_config)
        shard = edge.EdgeShard.load(str(Path(folder) / "bare"))
        rounds = fill(index, shard, points, block, console)
        shard.close()
        before = search(index, points, block, queries)
        console.print("building the HNSW graph", highlight=False)
        started = time.perf_counter()
        index.optimize()
        optimize_seconds = time.perf_counter() - started
        after = search(index, points, block, queries)
    ours, bare = (sum(column) for column in zip(*rounds, strict=True))
    return {
        "points": points,
        "points_per_second": points / ours,
        "bare_points_per_second": points / bare,
        "upsert_ratio": statistics.median(theirs / seconds for seconds, theirs in rounds),
        "optimize_seconds": optimize_seconds,
        **{f"{name}_before_index": value for name, value in before.items()},
        **{f"{name}_after_index": value for name, value in after.items()},
    }


def measure(home: Path, console: Console) -> BenchResult:
    """Run both parts; the second uses a home folder of its own, not ``home``."""
    del home
    figures = measure_filling(console, POINTS, BLOCK, QUERIES)
    change = measure_change(console, CHANGED_POSTS)
    targets = {
        "upsert_ratio": Target(
            LEAST_OF_BARE_LOOP, figures["upsert_ratio"], figures["upsert_ratio"] >= LEAST_OF_BARE_LOOP
        ),
        **change.targets,
    }
    figures |= change.figures
    return BenchResult("index", {name: round(value, 4) for name, value in figures.items()}, targets)
