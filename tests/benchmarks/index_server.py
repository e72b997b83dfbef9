"""Fill a Qdrant server through our index and through qdrant-client's own `upload_points`, and search it, in one run."""

import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from statistics import median
from urllib.parse import urlsplit

import numpy as np
from numpy.typing import NDArray
from qdrant_client import QdrantClient, models
from rich.console import Console

from resources.vectors.generations import IndexConfig
from resources.vectors.index import BATCH_POINTS
from resources.vectors.server.generations import ServerGenerations
from resources.vectors.server.index import ServerIndex, collection_settings
from resources.vectors.values import DENSE, SPARSE, IndexPoint, SearchFilter
from tests.benchmarks.index_points import DIMENSION, block_of_points, vectors

POINTS, BLOCK, QUERIES, TURNS, CLIENTS, K = 20_000, 2_000, 400, 4, (1, 8), 10
_SEED = 7
_COLLECTION = "bench_of_qdrant_client"


def measure_server(url: str, console: Console, points: int = POINTS, block: int = BLOCK) -> dict[str, float]:
    """Return figures of filling and searching the server at ``url``; blocks alternate between the ways.

    Its port for gRPC is the next one after that of ``url``, as Qdrant's own are.
    """
    config = IndexConfig("bench", DIMENSION, "bench")
    host, port = urlsplit(url).hostname or "", urlsplit(url).port or 6333
    rest = QdrantClient(url=url, timeout=60, check_compatibility=False)
    grpc = QdrantClient(
        host=host, port=port, grpc_port=port + 1, prefer_grpc=True, timeout=60, check_compatibility=False
    )
    with ServerGenerations.connect(url) as generations:
        made = generations.create(config)
        index = generations.open(made)
        names = {"rest": f"{_COLLECTION}_rest", "grpc": f"{_COLLECTION}_grpc"}
        for name in names.values():
            rest.create_collection(name, **collection_settings(config))
        ways: dict[str, Callable[[Sequence[IndexPoint]], object]] = {
            "index": index.upsert,
            "upload_points": lambda found: _upload(rest, names["rest"], found),
            "upload_points over gRPC": lambda found: _upload(grpc, names["grpc"], found),
        }
        try:
            seconds = _filled(ways, points, block, console)
            index.optimize()
            rounds = {f"fill_seconds {name}": sum(each) for name, each in seconds.items()}
            for clients in CLIENTS:
                rounds |= _searched(url, grpc, made.name, clients)
        finally:
            generations.drop(made)
            for name in names.values():
                rest.delete_collection(name)
            rest.close()
            grpc.close()
    ratios = [mine / theirs for mine, theirs in zip(seconds["index"], seconds["upload_points"], strict=True)]
    return {**rounds, "fill_seconds_of_upload_points": median(ratios)}


def _upload(client: QdrantClient, collection: str, points: Sequence[IndexPoint]) -> None:
    structs = [
        models.PointStruct(
            id=point.id,
            vector={
                DENSE: point.dense.tolist(),
                SPARSE: models.SparseVector(indices=point.sparse.indices.tolist(), values=point.sparse.values.tolist()),
            },
            payload=dict(point.payload),
        )
        for point in points
    ]
    client.upload_points(collection, structs, batch_size=BATCH_POINTS, parallel=1, wait=True)


def _filled(
    ways: dict[str, Callable[[Sequence[IndexPoint]], object]], points: int, block: int, console: Console
) -> dict[str, list[float]]:
    seconds: dict[str, list[float]] = {name: [] for name in ways}
    for number in range(-(-points // block)):
        made = block_of_points(number, block)
        for name in list(ways)[:: 1 if number % 2 else -1]:
            started = time.perf_counter()
            ways[name](made)
            seconds[name].append(time.perf_counter() - started)
        console.print(f"server: {(number + 1) * block:,} of {points:,} points", highlight=False)
    return seconds


def _searched(url: str, grpc: QdrantClient, collection: str, clients: int) -> dict[str, float]:
    """Return the median milliseconds of a search with some clients at a time, over REST and over gRPC.

    Both send the same request through our index, and take turns.
    """
    with ServerGenerations.connect(url) as generations:
        [made] = [found for found in generations.all() if found.name == collection]
        ways: dict[str, ServerIndex] = {"REST": generations.open(made), "gRPC": ServerIndex(grpc, "gRPC", collection)}
        taken: dict[str, list[float]] = {name: [] for name in ways}
        for turn in range(TURNS):
            asked = vectors(np.random.default_rng((_SEED, clients, turn)), QUERIES // TURNS)
            for name in list(ways)[:: 1 if turn % 2 else -1]:
                with ThreadPoolExecutor(clients) as pool:
                    taken[name] += pool.map(partial(_seconds, ways[name]), asked)
    return {f"search_p50_ms {name}, {clients} clients": 1_000 * median(taken[name]) for name in ways}


def _seconds(index: ServerIndex, query: NDArray[np.float32]) -> float:
    started = time.perf_counter()
    index.search_dense(query, SearchFilter(), K)
    return time.perf_counter() - started
