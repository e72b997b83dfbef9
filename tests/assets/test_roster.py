"""A vertical that a person drops is gone from every stage after one run, and comes back."""

from pathlib import Path

import polars as pl
import pytest

from assets.marts.content import CONTENT, VERTICAL_COVERAGE
from assets.marts.creators import CREATORS
from assets.verticals.roster import HISTORY, ROSTER
from assets.verticals.tags import TAGS
from resources.local_stack import EmbeddedStack
from tests.worlds.lineage import World
from tests.worlds.loaded import loaded_world, world_name
from tests.worlds.shipping_catalogue import catalogue_that_drops

WHERE = ("vertical", "qdrant", "mart")


def seen(world: World, vertical: str) -> dict[str, int]:
    """How often each stage has a vertical."""
    with world.qdrant.open() as index:
        named_by = [point.payload for point in index.scroll_points()]
    fields = ("verticals", "post_verticals")
    named = pl.col("verticals").str.split(", ").list.contains(vertical).fill_null(value=False)
    return {
        **{field: sum(vertical in payload[field] for payload in named_by) for field in fields},
        "tags": world.table(TAGS).filter(vertical=vertical).height,
        "search": len(world.search("sourdough", vertical)),
        "creators": world.table(CREATORS).filter(named | (pl.col("top_vertical") == vertical)).height,
        "content": world.table(CONTENT).filter(vertical=vertical).height,
    }


def test_a_dropped_vertical_is_gone_after_one_run_and_comes_back(
    stack: EmbeddedStack, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    world = loaded_world(stack).clone(world_name("roster"), tmp_path)
    vertical = str(world.table(TAGS).filter(item_kind="account")["vertical"].mode().sort()[0])
    before = seen(world, vertical)
    assert all(before.values()), before
    with monkeypatch.context() as patch:
        patch.setenv("CIPPUS_VERTICALS", str(catalogue_that_drops(vertical, tmp_path)))
        world.run_well(*WHERE)
    assert not any(seen(world, vertical).values())
    coverage = world.table(VERTICAL_COVERAGE).filter(vertical=vertical, item_kind="account").row(0, named=True)
    assert (coverage["status"], coverage["tagged"]) == ("drop", 0)
    assert "Decided by a person on 2026-01-02: Shipped for the tests." in coverage["reason"]
    measured = [f"{share}{end}" for share in ("precision", "recall") for end in ("", "_low", "_high")]
    measured += ["bar_precision", "bar_recall"]
    decided = world.table(ROSTER).filter(vertical=vertical, item_kind="account").row(0, named=True)
    assert {name: coverage[name] for name in measured} == {name: decided[name] for name in measured}
    assert decided["precision"] is not None
    others = world.table(ROSTER).filter(pl.col("vertical") != vertical)
    assert (others["status"] == "ship").all()
    world.run_well("vertical")
    assert seen(world, vertical)["tags"] == before["tags"]
    statuses = world.table(HISTORY).filter(vertical=vertical, item_kind="account").sort("decided_at")["status"]
    assert statuses.to_list() == ["ship", "drop", "ship"]
