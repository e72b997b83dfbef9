"""Fill, reconcile and read the index of a world."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from assets.qdrant.points import PointWriter, index_config_of
from assets.qdrant.promotion import generations_to_write, serve_if_ready
from assets.qdrant.reconciliation import Reconciled, reconcile
from assets.transforms.search.points import stored_points
from resources.vectors.generations import Generations
from resources.vectors.index import VectorIndex
from resources.vectors.values import IndexPoint
from tests.worlds.lineage import BUCKETS_RUN, World

Dump = Mapping[str, tuple[Any, ...]]


def dump(world: World) -> Dump:
    """Point id → hashes, payload and vectors, to five decimals."""
    with world.qdrant.open() as index:
        return held(index)


def held(index: VectorIndex) -> Dump:
    return {point.id: contents(point) for point in index.scroll_points()}


def contents(point: IndexPoint) -> tuple[Any, ...]:
    dense = np.round(point.dense.astype(np.float64), 5) + 0.0
    sparse = np.round(point.sparse.values.astype(np.float64), 4)
    return dict(point.payload), dense.tolist(), point.sparse.indices.tolist(), sparse.tolist()


def repair(world: World, *, deep: bool = True) -> Reconciled:
    """What `cippus reconcile` does, on the buckets of this world."""
    with world.qdrant.generations() as generations:
        return repair_in(generations, world, deep=deep)


def repair_in(generations: Generations, world: World, *, deep: bool = True) -> Reconciled:
    writer = PointWriter(world.lake, world.embedding[0].model())
    index_config = index_config_of(writer.model, world.quantization)
    for generation in generations_to_write(generations, index_config):
        found = Reconciled(generation.name)
        reconcile(generations.open(generation), writer, range(BUCKETS_RUN), found, deep=deep)
    serve_if_ready(generations, index_config, writer, lambda _: None)
    return found


def fill(generations: Generations, world: World) -> None:
    """Serve what the world's lake would have."""
    writer = PointWriter(world.lake, world.embedding[0].model())
    made = generations.create(index_config_of(writer.model, world.quantization))
    for bucket in range(BUCKETS_RUN):
        writer.bring_up_to_date(
            generations.open(made), bucket, writer.desired(bucket), stored_points([]), lambda _done, _of: None
        )
    generations.promote(made)
