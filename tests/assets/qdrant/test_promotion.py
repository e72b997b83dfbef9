"""The gate, promotion and rollback in the lineage: what is served is whole, indexed and finds what is there."""

import json
import signal
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from assets.qdrant.points import PointWriter, index_config_of
from assets.qdrant.promotion import GateVerdict, candidate, gate, generations_to_write, serve_if_ready
from assets.qdrant.reconciliation import Reconciled, reconcile
from resources.local_stack import EmbeddedStack
from resources.vectors.edge.generations import ALIASES_FILE, EdgeGenerations
from resources.vectors.index import VectorIndex
from tests.worlds.crash_runner import Child, crash_runner
from tests.worlds.lineage import DESCRIPTIONS, World
from tests.worlds.lineage_rows import FIRST, QUERIES
from tests.worlds.loaded import loaded_world, world_name
from tests.worlds.snapshot import assert_same


@pytest.fixture
def world(stack: EmbeddedStack, tmp_path: Path, request: pytest.FixtureRequest) -> World:
    return loaded_world(stack).clone(world_name(request.node.nodeid), tmp_path / "qdrant")


def quantized(world: World, quantization: str = "scalar") -> World:
    """The same world, whose settings ask for another generation."""
    return replace(world, quantization=quantization)


def writer_of(world: World) -> PointWriter:
    return PointWriter(world.lake, world.embedding[0].model())


def served(world: World) -> tuple[str | None, str | None]:
    with world.qdrant.generations() as generations:
        serving, previous = generations.serving(), generations.previous()
    return serving.name if serving else None, previous.name if previous else None


def damaged_gate(world: World, damage: Callable[[VectorIndex], object]) -> GateVerdict:
    with world.qdrant.generations() as generations:
        [serving] = generations.all()
        index = generations.open(serving)
        damage(index)
        return gate(index, writer_of(world))


def test_what_a_run_leaves_passes_the_gate(world: World) -> None:
    verdict = damaged_gate(world, lambda _index: None)
    assert (verdict.passed, verdict.recall, verdict.points) == (True, 1.0, verdict.chunks)
    assert verdict.queries > 50


def kept(world: World) -> object:
    """What the ledger says of the recall that was not enough."""
    return world.s3.get_json("ledger/qdrant/promotion/-1.json")


def shuffle(index: VectorIndex) -> None:
    """Give the points each other's vectors."""
    points = list(index.scroll_points())
    order = np.random.default_rng(5).permutation(len(points))
    index.upsert(replace(point, dense=points[other].dense) for point, other in zip(points, order, strict=True))


def test_a_planted_recall_loss_is_refused(world: World) -> None:
    verdict = damaged_gate(world, shuffle)
    assert verdict.recall < 0.9
    assert verdict.problems == [f"recall@10 is {verdict.recall:.4f}, expected at least 0.98"]


def test_a_lost_point_and_one_of_no_bucket_are_refused(world: World) -> None:
    def lose(index: VectorIndex) -> None:
        index.delete([next(iter(index.scroll_points(1))).id])

    assert "bucket 1 has" in damaged_gate(world, lose).problems[0]


def test_one_of_no_bucket_is_refused(world: World) -> None:
    def add(index: VectorIndex) -> None:
        point = next(iter(index.scroll_points()))
        index.upsert([replace(point, id="00000000-0000-0000-0000-000000000001", payload={})])

    assert "some belong to no bucket" in damaged_gate(world, add).problems[0]


def test_a_new_recipe_is_built_beside_promoted_and_rolled_back(world: World) -> None:
    before, found = world.points(), world.search("sourdough")
    scalar = quantized(world)
    report = scalar.run_well("qdrant")
    told = report.counts("qdrant/promotion")
    assert (told["serving"], told["previous"], told["promoted"]) == ("cippus_text_v2", "cippus_text_v1", 1)
    assert told["recall_at_10"] >= 0.98
    assert told["seconds"] > 0.05, "of indexing and judging, not of telling about it"
    assert report.counts("qdrant/cippus_text")["upserted"] == len(before)
    assert not scalar.embedded_texts
    assert scalar.points() == before
    assert [account.account_id for account in scalar.search("sourdough")] == [one.account_id for one in found]

    with scalar.qdrant.generations() as generations:
        generations.roll_back()
    held = scalar.run_well("qdrant")
    assert held.counts("qdrant/promotion")["serving"] == "cippus_text_v1", "what was rolled back is not promoted again"
    assert held.counts("qdrant/cippus_text")["upserted"] == 0

    with scalar.qdrant.generations() as generations:
        generations.roll_back()
    turbo = quantized(world, "turbo")
    turbo.run_well("qdrant")
    assert served(turbo) == ("cippus_text_v3", "cippus_text_v2")
    with turbo.qdrant.generations() as generations:
        assert [one.number for one in generations.all()] == [2, 3]
    assert not [key for key in world.objects() if key.startswith("ledger/qdrant/cippus_text_v1/")]


def test_where_nothing_is_served_what_was_rolled_back_is_served_again(world: World) -> None:
    scalar = quantized(world)
    scalar.run_well("qdrant")
    with scalar.qdrant.generations() as generations:
        generations.roll_back()
    (world.folder / ALIASES_FILE).unlink()
    assert served(scalar) == (None, None)
    scalar.run_well("qdrant")
    assert served(scalar)[0] == "cippus_text_v2"


def test_replicas_that_differ_are_refused(world: World) -> None:
    told = ["Shard 0 holds 3 points on peer 1, 4 points on peer 2."]
    with quantized(world).qdrant.generations() as generations:
        index_config = index_config_of(writer_of(world).model, "scalar")
        _, waiting = generations_to_write(generations, index_config)
        _, verdict = serve_if_ready(
            generations,
            index_config,
            writer_of(world),
            lambda _: None,
            lambda name: told if name == waiting.name else [],
        )
    assert verdict is not None
    assert verdict.problems[-1:] == told
    assert served(world) == ("cippus_text_v1", None)


def test_a_refused_generation_waits_and_the_old_one_serves_and_is_kept_up_to_date(world: World) -> None:
    scalar = quantized(world)
    index_config = index_config_of(writer_of(world).model, "scalar")
    with scalar.qdrant.generations() as generations:
        _, waiting = generations_to_write(generations, index_config)
        index = generations.open(waiting)  # empty: its counts do not stand
        refused, verdict = serve_if_ready(generations, index_config, writer_of(world), lambda _: None)
        assert verdict is not None
        assert (refused, verdict.passed, index.count()) == (waiting, False, 0)
        assert candidate(generations, index_config) == waiting
    assert served(scalar) == ("cippus_text_v1", None)
    assert scalar.search("sourdough")
    scalar.run_well("qdrant")
    assert served(scalar) == ("cippus_text_v2", "cippus_text_v1")


def test_what_was_refused_for_its_recall_is_measured_again_only_after_a_change(world: World) -> None:
    scalar, writer = quantized(world), writer_of(world)
    index_config = index_config_of(writer.model, "scalar")
    with scalar.qdrant.generations() as generations:
        _, waiting = generations_to_write(generations, index_config)
        for bucket in (0, 1):
            writer.write(generations.open(waiting), bucket, writer.desired(bucket))
        shuffle(generations.open(waiting))

    def judged(*groups: str) -> tuple[float, int, int]:
        told = scalar.run_well(*groups).counts("qdrant/promotion")
        assert (told["judged"], told["serving"]) == (waiting.name, "cippus_text_v1")
        return told["recall_at_10"], told["queries"], told["promoted"]

    first, measured = judged("qdrant"), kept(scalar)
    assert 0 < first[0] < 0.98
    assert scalar.embedder.embedded.keys() - QUERIES == DESCRIPTIONS
    assert judged("qdrant") == first
    assert not scalar.embedder.embedded, "nothing has changed, and nothing is measured"
    scalar.execute("UPDATE posts SET text = 'another', updated_at = clock_timestamp() WHERE account_id = %s", FIRST)
    judged()
    assert kept(scalar) != measured
    with scalar.qdrant.generations() as generations:
        reconcile(generations.open(waiting), writer, range(3), Reconciled(waiting.name), deep=True)
        serve_if_ready(generations, index_config, writer, lambda _: None)
    assert served(scalar) == (waiting.name, "cippus_text_v1"), "a reconcile measures anew"


def test_a_lost_collection_is_built_anew_without_embedding(world: World) -> None:
    before = world.points()
    with EdgeGenerations.lock(world.folder, 1.0) as generations:
        [lost] = generations.all()
    (world.folder / lost.name).rename(world.folder / "elsewhere")
    world.run_well("qdrant")
    assert (world.points(), served(world)) == (before, ("cippus_text_v2", None))
    assert not world.embedded_texts


STEPS = {
    "the generation is half made": ("before index birth", 1),
    "it is made, and empty": ("after index birth", 1),
    "a batch is written": ("after index update", 2),
    "it is not indexed yet": ("before index optimize", 1),
    "it is indexed, and not judged": ("after index optimize", 1),
    "it is judged, and not served": ("before index swap", 1),
    "it is served, and nothing is dropped": ("after index swap", 1),
}
"""What happened → the event that the run is killed at, and which of those."""


@pytest.fixture(scope="module")
def child(stack: EmbeddedStack) -> Iterator[Child]:
    with crash_runner(stack) as run:
        yield run


def test_killed_at_each_step_one_generation_is_served(world: World, child: Child) -> None:
    scalar, expected = quantized(world), world.snapshot()
    for what, (pattern, nth) in STEPS.items():
        assert child(scalar, pattern, nth, groups=["qdrant"]) == -signal.SIGKILL, what
        serving = json.loads((world.folder / ALIASES_FILE).read_text())["cippus_text"]
        assert serving == ("cippus_text_v2" if "is served" in what else "cippus_text_v1"), what
        assert scalar.search("sourdough"), what
        assert world.points() == expected.points, what
    scalar.run_well("qdrant")
    assert served(scalar) == ("cippus_text_v2", "cippus_text_v1")
    assert_same(scalar.snapshot(), expected)


def test_killed_while_old_generations_are_dropped(world: World, child: Child) -> None:
    quantized(world).run_well("qdrant")
    turbo = quantized(world, "turbo")
    assert child(turbo, "before index drop", 1, groups=["qdrant"]) == -signal.SIGKILL
    assert served(turbo) == ("cippus_text_v3", "cippus_text_v2")
    turbo.run_well("qdrant")
    with turbo.qdrant.generations() as generations:
        assert [one.number for one in generations.all()] == [2, 3]
