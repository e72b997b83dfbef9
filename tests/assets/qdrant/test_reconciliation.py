"""Reconciling: whatever is done to the collection, one reconcile gives the same points, and embeds nothing."""

import json
import math
import random
import shutil
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import qdrant_edge as edge
from qdrant_client import QdrantClient, models
from typer.testing import CliRunner

from assets.qdrant.points import PointWriter, index_config_of
from assets.qdrant.promotion import generations_to_write, serve_if_ready
from assets.qdrant.reconciliation import Reconciled, reconcile
from assets.transforms.search.points import DIGEST, payload_digest, stored_points
from resources.local_stack import EmbeddedStack
from resources.vectors.edge.generations import ALIASES_FILE, EdgeGenerations
from resources.vectors.edge.index import EdgeIndex
from resources.vectors.generations import Generations
from resources.vectors.index import VectorIndex
from resources.vectors.resource import QdrantResource
from resources.vectors.server.generations import ServerGenerations
from resources.vectors.server.index import ServerIndex
from resources.vectors.values import DENSE, IndexPoint, SparseVector
from tests.worlds.lineage import BUCKETS_RUN, World, loaded_world, world_name

DAMAGES = 50
DICE = random.Random(0)  # noqa: S311 -- a seed
Dump = Mapping[str, tuple[Any, ...]]


@pytest.fixture(scope="module")
def world(stack: EmbeddedStack, tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest) -> World:
    """A world whose index is damaged and restored over and over; its lake stays as it is."""
    folder = tmp_path_factory.mktemp("reconciled") / "qdrant"
    made = loaded_world(stack).clone(world_name(request.node.nodeid), folder)
    shutil.copytree(folder, folder.parent / "whole")
    return made


@pytest.fixture
def whole(world: World) -> World:
    """The same world with its index as a run left it."""
    shutil.rmtree(world.folder)
    shutil.copytree(world.folder.parent / "whole", world.folder)
    world.embedder.embedded.clear()
    return world


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


def test_seeded_damages_are_healed_without_embedding(whole: World) -> None:
    """Every 25th loses the collection; between those it stays open, because opening it takes longest."""
    expected = dump(whole)
    seen: set[str] = set()
    for first in range(0, DAMAGES, 25):
        with whole.qdrant.generations() as generations:
            for seed in range(first, first + 24):
                serving = generations.serving()
                assert serving is not None
                damage_at_random(generations.open(serving), sorted(expected), random.Random(seed))  # noqa: S311 -- a seed
                found = repair_in(generations, whole)
                assert held(generations.open(serving)) == expected, f"seed {seed}"
                seen |= {kind for kind, count in found.damage.items() if count}
        assert dump(whole) == expected, "what was repaired is what another process finds"
        lose_collection(whole.folder, random.Random(first))  # noqa: S311 -- a seed
        repair(whole)
        assert dump(whole) == expected, f"lost after seed {first + 23}"
    assert seen == {"missing", "stale", "corrupt_payload", "corrupt_vector", "duplicate", "foreign"}
    assert not whole.embedded_texts


@pytest.mark.filterwarnings("ignore:invalid value encountered in divide:RuntimeWarning")
@pytest.mark.parametrize("deep", [True, False])
@pytest.mark.filterwarnings("ignore:Payload indexes have no effect:UserWarning")
@pytest.mark.parametrize("engine", ["edge", "memory"])
def test_points_without_a_usable_vector_are_read_and_healed(whole: World, engine: str, deep: bool) -> None:
    with ExitStack() as stack:
        generations: Generations = ServerGenerations(QdrantClient(":memory:"), "memory")
        if engine == "edge":
            generations = stack.enter_context(whole.qdrant.generations())
        else:
            fill(generations, whole)
        serving = generations.serving()
        assert serving is not None
        index = generations.open(serving)
        expected = held(index)
        first, second, third = index.retrieve(sorted(expected)[:3])
        others: dict[str, Any] = {"account_bucket": [1], "post_id": ["of nobody"]}
        without_dense(index, [first, replace(third, id="00000000-0000-0000-0000-000000000001", payload=others)], DICE)
        not_finite(index, [second], DICE)
        assert [is_whole(point) for point in index.retrieve([first.id, second.id, third.id])] == [False, False, True]
        assert len(list(index.scroll_points())) == len(expected) + 1
        found = repair_in(generations, whole, deep=deep).damage
        assert found == ({"corrupt_vector": 2, "foreign": 1} if deep else {"foreign": 1})
        assert (held(index) == expected) is deep
    assert not whole.embedded_texts


def fill(generations: Generations, world: World) -> None:
    """Serve what the world's lake would have."""
    writer = PointWriter(world.lake, world.embedding[0].model())
    made = generations.create(index_config_of(writer.model, world.quantization))
    for bucket in range(BUCKETS_RUN):
        writer.bring_up_to_date(
            generations.open(made), bucket, writer.desired(bucket), stored_points([]), lambda _done, _of: None
        )
    generations.promote(made)


def test_a_whole_collection_is_left_alone(whole: World) -> None:
    with whole.qdrant.open() as index:
        before = index.generation()
    for deep in (False, True):
        found = repair(whole, deep=deep)
        assert (found.points, dict(found.damage)) == (len(dump(whole)), {})
    with whole.qdrant.open() as index:
        assert index.generation() == before
    assert not whole.embedder.embedded


def test_what_is_changed_behind_its_hash_takes_a_deep_look(whole: World) -> None:
    expected = dump(whole)
    with whole.qdrant.open() as index:
        [first, second] = index.retrieve(sorted(expected)[:2])
        index.set_payload([(first.id, {**first.payload, "text": "forged"})])
        index.upsert([replace(second, dense=np.roll(second.dense, 7))])
    assert repair(whole, deep=False).damage == {}
    assert dump(whole) != expected
    assert repair(whole).damage == {"corrupt_payload": 1, "corrupt_vector": 1}
    assert dump(whole) == expected


@pytest.mark.parametrize("deep", [True, False])
def test_a_point_of_several_buckets_is_not_deleted_for_one_of_them(whole: World, deep: bool) -> None:
    expected = dump(whole)
    with whole.qdrant.open() as index:
        points = index.retrieve(sorted(expected)[:9])
        index.set_payload((point.id, {**point.payload, "account_bucket": [0, 1, 2]}) for point in points)
        index.upsert(
            [replace(points[0], id="00000000-0000-0000-0000-000000000001", payload={"account_bucket": [1, 2]})]
        )
    found = repair(whole, deep=deep).damage
    assert dump(whole) == expected
    assert found == {"missing": 9, "foreign": 1}
    assert not whole.embedded_texts


def test_a_point_that_moved_between_buckets_outlives_the_late_cleaning_of_the_old_one(whole: World) -> None:
    """Buckets are made two at a time: the new one may be written between the look at the old one and its deletion."""
    writer, expected = PointWriter(whole.lake, whole.embedding[0].model()), dump(whole)
    with whole.qdrant.open() as index:
        moved = [point for point in index.retrieve(sorted(expected)) if point.payload["account_bucket"] == 1][:5]
        index.set_payload((point.id, {**point.payload, "account_bucket": 0}) for point in moved)
        old, new = (stored_points(index.scroll_hashes(bucket)) for bucket in (0, 1))
        for bucket, seen in ((1, new), (0, old)):
            done, _ = writer.bring_up_to_date(index, bucket, writer.desired(bucket), seen, lambda _done, _of: None)
            assert (done.inserted, done.deleted) == ((5, 0) if bucket == 1 else (0, 5))
        assert held(index) == expected


def test_without_deep_ids_and_hashes_are_put_right(whole: World) -> None:
    expected = dump(whole)
    with whole.qdrant.open() as index:
        points = index.retrieve(sorted(expected)[:3])
        index.delete([points[0].id])
        index.set_payload([(points[1].id, {**points[1].payload, DIGEST: 1})])
        index.upsert([replace(points[2], id="00000000-0000-0000-0000-000000000001", payload={})])
    assert repair(whole, deep=False).damage == {"missing": 1, "stale": 1, "foreign": 1}
    assert dump(whole) == expected


def test_the_commands(whole: World, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    from pipelines.cli import index as indexing
    from pipelines.cli.main import app
    from resources import wiring
    from resources.errors import InputError

    made = wiring.resources()._replace(
        lake=whole.lake,
        qdrant=whole.qdrant,
        embedder=whole.embedding[0],
    )
    monkeypatch.setenv("CIPPUS_HOME", str(tmp_path))
    monkeypatch.setattr(indexing, "require_stack", lambda: None)
    monkeypatch.setattr(wiring, "resources", lambda: made)
    expected = dump(whole)
    with whole.qdrant.open() as index:
        index.delete(sorted(expected)[:3])
    found = CliRunner().invoke(app, ["reconcile", "--deep", "--json"])
    assert found.exit_code == 0, found.output
    report = json.loads(found.stdout)
    assert report["serving"] == "cippus_text_v1"
    assert report["reconciled"][0] | {"points": 0} == {
        "generation": "cippus_text_v1", "points": 0, "missing": 3, "stale": 0, "corrupt_payload": 0,
        "corrupt_vector": 0, "duplicate": 0, "foreign": 0,
    }  # fmt: skip
    assert dump(whole) == expected
    told = CliRunner().invoke(app, ["reconcile"])
    assert "no damage" in told.stdout
    with monkeypatch.context() as fewer:
        fewer.setenv("CIPPUS_BUCKETS", "1")
        refused = CliRunner().invoke(app, ["reconcile"], standalone_mode=False)
        assert isinstance(refused.exception, InputError)
        assert "has rows of bucket 1, but CIPPUS_BUCKETS is 1: set it to" in str(refused.exception)
        assert dump(whole) == expected
    refused = CliRunner().invoke(app, ["rollback"], standalone_mode=False)
    assert "no generation before the one that is served" in str(refused.exception)

    with whole.qdrant.generations() as generations:
        generations.promote(
            generations.create(generations.all()[0].index_config)
        )  # v1 is now the one before, as of today
        old = generations.open(generations.all()[0])
        old.delete(sorted(expected)[:2])
        old.upsert([replace(next(iter(old.scroll_points())), id="00000000-0000-0000-0000-000000000001")])
    with monkeypatch.context() as fewer:
        fewer.setenv("CIPPUS_BUCKETS", "1")
        refused = CliRunner().invoke(app, ["rollback"], standalone_mode=False)
        assert isinstance(refused.exception, InputError)
    told = CliRunner().invoke(app, ["rollback"])
    assert told.exit_code == 0, told.output
    assert "cippus_text_v1 is served instead of cippus_text_v2, in line with the lake" in told.stdout
    assert dump(whole) == expected


@pytest.fixture
def commanded(whole: World, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> World:
    """The world that `cippus` works on, configured for another quantization than that of its served generation."""
    from pipelines.cli import index as indexing
    from resources import wiring

    other = QdrantResource(edge_path=str(whole.folder), quantization="scalar")
    made = wiring.resources()._replace(lake=whole.lake, qdrant=other, embedder=whole.embedding[0])
    monkeypatch.setenv("CIPPUS_HOME", str(tmp_path))
    monkeypatch.setattr(indexing, "require_stack", lambda: None)
    monkeypatch.setattr(wiring, "resources", lambda: made)
    return whole


def test_what_is_served_is_compared_and_nothing_else_changes(commanded: World) -> None:
    from pipelines.cli.main import app

    expected = dump(commanded)
    with commanded.qdrant.open() as index:
        index.delete(sorted(expected)[:3])
    found = CliRunner().invoke(app, ["reconcile"])
    assert found.exit_code == 0, found.output
    assert "3 missing" in found.stdout
    assert "has quantization none; scalar is configured" in found.stderr
    assert dump(commanded) == expected
    with commanded.qdrant.generations() as generations:
        assert [made.number for made in generations.all()] == [1]


def test_a_lost_collection_is_rebuilt_from_the_lake(commanded: World) -> None:
    from pipelines.cli.main import app

    expected = dump(commanded)
    with commanded.qdrant.open() as index:
        index.delete(sorted(expected))
    found = CliRunner().invoke(app, ["reconcile", "--rebuild"])
    assert found.exit_code == 0, found.output
    assert (
        f"cippus_text_v2 is served instead of cippus_text_v1, which is deleted: {len(expected)} points" in found.stdout
    )
    assert dump(commanded).keys() == expected.keys()
    assert commanded.embedded_texts == {}
    with commanded.qdrant.generations() as generations:
        assert [made.number for made in generations.all()] == [2]


@pytest.mark.parametrize("arguments", [["lake", "--deep"], ["--rebuild", "--deep"], ["lake", "--rebuild"]])
def test_options_that_do_not_go_together_are_refused(arguments: list[str]) -> None:
    from pipelines.cli.main import app
    from resources.errors import InputError

    refused = CliRunner().invoke(app, ["reconcile", *arguments], standalone_mode=False)
    assert isinstance(refused.exception, InputError)
