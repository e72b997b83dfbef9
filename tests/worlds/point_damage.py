"""Damage to the points of an index, of every kind, and the loss of a collection."""

import math
import random
import shutil
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import qdrant_edge as edge
from qdrant_client import models

from assets.transforms.search.points import DIGEST, payload_digest
from resources.vectors.edge.generations import ALIASES_FILE, EdgeGenerations
from resources.vectors.edge.index import EdgeIndex
from resources.vectors.index import VectorIndex
from resources.vectors.server.index import ServerIndex
from resources.vectors.values import DENSE, IndexPoint, SparseVector


def drop(index: VectorIndex, points: list[IndexPoint], dice: random.Random) -> None:
    index.delete([point.id for point in points])


def empty_payload(index: VectorIndex, points: list[IndexPoint], dice: random.Random) -> None:
    index.set_payload((point.id, {}) for point in points)


def other_text(index: VectorIndex, points: list[IndexPoint], dice: random.Random) -> None:
    index.set_payload((point.id, {**point.payload, "text": f"forged {dice.random()}"}) for point in points)


def stale(index: VectorIndex, points: list[IndexPoint], dice: random.Random) -> None:
    for point in points:
        older = {key: value for key, value in point.payload.items() if key != DIGEST} | {"country": "ZZ"}
        index.set_payload([(point.id, {**older, DIGEST: payload_digest(older)})])


def other_bucket(index: VectorIndex, points: list[IndexPoint], dice: random.Random) -> None:
    index.set_payload((point.id, {**point.payload, "account_bucket": dice.choice([0, 1, 2, 77])}) for point in points)


def several_buckets(index: VectorIndex, points: list[IndexPoint], dice: random.Random) -> None:
    """Matched by a filter by any of them: equal in one bucket, and nobody's in the others."""
    for point in points:
        buckets = [point.payload.get("account_bucket"), *dice.sample([0, 1, 2, 77, "x", None], 2)]
        index.set_payload([(point.id, {**point.payload, "account_bucket": dice.sample(buckets, 3)})])


def other_types(index: VectorIndex, points: list[IndexPoint], dice: random.Random) -> None:
    """Numbers that Python takes for equal, and JSON does not."""
    for point in points:
        name = dice.choice(["chunk_no", DIGEST])
        index.set_payload([(point.id, {**point.payload, name: float(point.payload.get(name, 0))})])


def other_dense(index: VectorIndex, points: list[IndexPoint], dice: random.Random) -> None:
    turned = [np.roll(point.dense, dice.randint(1, 100)) for point in points]
    index.upsert(replace(point, dense=dense) for point, dense in zip(points, turned, strict=True))


def other_sparse(index: VectorIndex, points: list[IndexPoint], dice: random.Random) -> None:
    index.upsert(replace(point, sparse=SparseVector.of([dice.randint(0, 99)], [1.0])) for point in points)


def swapped(index: VectorIndex, points: list[IndexPoint], dice: random.Random) -> None:
    turned = [*points[1:], points[0]]
    index.upsert(replace(point, dense=other.dense) for point, other in zip(points, turned, strict=True))


def duplicated(index: VectorIndex, points: list[IndexPoint], dice: random.Random) -> None:
    index.upsert(replace(point, id=foreign_id(dice)) for point in points)


def foreign(index: VectorIndex, points: list[IndexPoint], dice: random.Random) -> None:
    payload = {"account_bucket": dice.choice([0, 1, 5, None]), "text": "nobody's", "post_id": "none"}
    index.upsert(replace(point, id=foreign_id(dice), payload=payload) for point in points)


def foreign_id(dice: random.Random) -> str:
    """A UUID, or a number, which is Qdrant's other kind of id."""
    made = f"{dice.getrandbits(32):08x}-0000-4000-8000-{dice.getrandbits(48):012x}"
    return dice.choice([made, str(dice.getrandbits(40))])


def without_dense(index: VectorIndex, points: list[IndexPoint], dice: random.Random) -> None:
    write_raw(index, [(point, None) for point in points])


def not_finite(index: VectorIndex, points: list[IndexPoint], dice: random.Random) -> None:
    """Infinity, which engines bring to a unit length that is none: the vector is read as NaN."""
    write_raw(index, [(point, [math.inf, *point.dense.tolist()[1:]]) for point in points])


def write_raw(index: VectorIndex, points: Sequence[tuple[IndexPoint, list[float] | None]]) -> None:
    """Write payloads with any dense vector, or none, as a client that is not ours may do."""
    if isinstance(index, EdgeIndex):
        made = [edge.Point(point.id, {DENSE: dense} if dense else {}, dict(point.payload)) for point, dense in points]
        index._update(edge.UpdateOperation.upsert_points(made))
        return
    assert isinstance(index, ServerIndex)
    structs = [
        models.PointStruct(id=point.id, vector={DENSE: dense} if dense else {}, payload=dict(point.payload))
        for point, dense in points
    ]
    index._client.upsert(index._collection, structs)


def is_whole(point: IndexPoint) -> bool:
    return point.dense.size > 0 and bool(np.isfinite(point.dense).all())


DAMAGE: list[Callable[[VectorIndex, list[IndexPoint], random.Random], None]] = [
    drop, empty_payload, other_text, stale, other_bucket, several_buckets, other_types, other_dense, other_sparse,
    swapped, duplicated, foreign, without_dense, not_finite,
]  # fmt: skip


def lose_collection(folder: Path, dice: random.Random) -> None:
    """The whole collection, its segments, or the file that says which is served."""
    with EdgeGenerations.lock(folder, 1.0) as generations:
        serving = generations.serving()
    assert serving is not None
    lost = dice.choice([folder / serving.name, folder / serving.name / "segments", folder / ALIASES_FILE])
    if lost.is_dir():
        shutil.rmtree(lost)
    else:
        lost.unlink()


def damage_at_random(index: VectorIndex, ids: Sequence[str], dice: random.Random) -> None:
    """One to three kinds of damage, to up to a dozen points each."""
    for damage in dice.sample(DAMAGE, dice.randint(1, 3)):
        points = [point for point in index.retrieve(dice.sample(ids, dice.randint(2, 12))) if is_whole(point)]
        if points:
            damage(index, points, dice)
