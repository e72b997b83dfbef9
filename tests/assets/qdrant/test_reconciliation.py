"""Reconciling: whatever is done to the collection, one reconcile gives the same points, and embeds nothing."""

import json
import random
import shutil
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from qdrant_client import QdrantClient
from typer.testing import CliRunner

from assets.qdrant.points import PointWriter
from assets.transforms.search.points import DIGEST, stored_points
from resources.local_stack import EmbeddedStack
from resources.vectors.generations import Generations
from resources.vectors.resource import QdrantResource
from resources.vectors.server.generations import ServerGenerations
from tests.worlds.lineage import World
from tests.worlds.loaded import loaded_world, world_name
from tests.worlds.point_damage import damage_at_random, is_whole, lose_collection, not_finite, without_dense
from tests.worlds.reconciled import dump, fill, held, repair, repair_in

DAMAGES = 50
DICE = random.Random(0)  # noqa: S311 -- a seed


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
