"""Measure the index: filling it beside the bare engine, searching it, and a small change of the lineage.

200,000 points of 384 numbers go into Edge through our index and through a bare upsert loop, in alternating blocks of
one run. Then 100,000 real-length posts go through the embedded lineage with the real model, 0.1 % of them change, and
it runs again (index_change.py).
"""

import os
import statistics
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import qdrant_edge as edge
from rich.console import Console

from assets.transforms.search.recall import ExactNeighbours
from resources.vectors.edge.generations import EdgeGenerations
from resources.vectors.edge.shard import create_shard
from resources.vectors.generations import IndexConfig
from resources.vectors.index import BATCH_POINTS, VectorIndex
from resources.vectors.values import DENSE, SPARSE, IndexPoint, SearchFilter
from tests.benchmarks import BenchResult, Target
from tests.benchmarks.index_change import measure_change
from tests.benchmarks.index_points import DIMENSION, SEED, block_of_points, vectors
from tests.benchmarks.index_server import measure_server

POINTS, BLOCK, QUERIES = 200_000, 10_000, 100
K = 10
CHANGED_POSTS = 100_000
LEAST_OF_BARE_LOOP = 0.85
MOST_OF_UPLOAD_POINTS = 1.15


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
    asked = vectors(np.random.default_rng((SEED, 1_000_000)), queries)
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
    """Run both parts; the second uses a home folder of its own, not ``home``. With QDRANT_URL measure that server."""
    del home
    if url := os.environ.get("QDRANT_URL"):
        of_server = {name: round(value, 4) for name, value in measure_server(url, console).items()}
        share = Target.at_most(MOST_OF_UPLOAD_POINTS, of_server["fill_seconds_of_upload_points"])
        return BenchResult("index", of_server, {"fill_seconds_of_upload_points": share})
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
