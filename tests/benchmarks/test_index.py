"""The bench of the index, on a few points and posts: that it measures what it says."""

import functools
import io
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from subprocess import CompletedProcess

import numpy as np
import pytest
from rich.console import Console

from assets.transforms.search.points import DIGEST, payload_digest
from tests.benchmarks import index, index_change, index_points
from tests.benchmarks.index_change import Run, result
from tests.worlds.forked_commands import ForkedCommands, forked_commands

QUIET = Console(file=io.StringIO())


def test_blocks_repeat_and_are_points_of_the_lineage() -> None:
    first, again = index_points.block_of_points(3, 20), index_points.block_of_points(3, 20)
    assert [point.id for point in first] == [point.id for point in again]
    assert len({point.id for point in first + index_points.block_of_points(4, 20)}) == 40
    for point in first:
        assert np.linalg.norm(point.dense) == pytest.approx(1, abs=1e-5)
        said = dict(point.payload)
        assert said.pop(DIGEST) == payload_digest(said)


def test_filling_gives_its_figures() -> None:
    figures = index.measure_filling(QUIET, points=600, block=250, queries=5)
    assert figures["points"] == 600
    assert figures["recall_at_10_before_index"] == figures["recall_at_10_after_index"] == 1.0
    assert all(value > 0 for value in figures.values())


def test_a_change_is_held_to_its_targets() -> None:
    whole, unchanged = Run(100.0, 1_000, {"embedding/cippus_text": 80.0, "mart/creators": 9.0}), Run(1.0, 0, {})
    again = Run(2.0, 10, {"embedding/cippus_text": 1.25, "corpus/terms": 0.25, "mart/creators": 0.25})
    vectors = 1_000 * index_change.model_bytes()
    found = result(1_000, 10, 10, whole, unchanged, again, read=int(vectors * 0.03))
    assert {name: target.met for name, target in found.targets.items()} == {
        "texts_embedded_changed": True, "changed_run_share": True, "vector_bytes_read_share": True,
    }  # fmt: skip
    assert found.figures["changed_seconds embedding/cippus_text"] == 1.25
    assert found.figures["changed_index_share"] == 1.5 / 80
    assert found.figures["changed_seconds_outside_assets"] == 0.25
    worse = result(1_000, 10, 9, whole, unchanged, Run(4.0, 10, {}), read=int(vectors * 0.05))
    assert not any(target.met for target in worse.targets.values())


@pytest.fixture
def quick_commands(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Run the bench's commands in forks and on two buckets, which saves imports and commits."""
    with ExitStack() as stack:

        @functools.cache
        def forks(home: str) -> ForkedCommands:
            return stack.enter_context(forked_commands({**os.environ, "CIPPUS_HOME": home, "CIPPUS_BUCKETS": "2"}))

        def ended(arguments: Sequence[str], environment: Mapping[str, str]) -> CompletedProcess[str]:
            return forks(environment["CIPPUS_HOME"]).run(*arguments)

        monkeypatch.setattr(index_change, "ended", ended)
        yield


def test_a_command_of_the_bench_is_a_process() -> None:
    done = index_change.ended(["search", "shoes", "--limit", "0"], os.environ)
    assert (done.returncode, done.stdout) == (2, "")
    assert "--limit" in done.stderr


@pytest.mark.usefixtures("quick_commands")
def test_a_change_is_measured_on_a_lineage_of_its_own() -> None:
    found = index_change.measure_change(QUIET, posts=100)
    assert found.figures["texts_embedded_whole"] >= 100
    assert found.figures["changed_posts"] == 1
    assert found.figures["texts_embedded_changed"] >= 1
    assert found.targets["texts_embedded_changed"].met
    assert found.figures["vector_bytes_read_share"] > 0
    assert found.figures["requests_whole"] > found.figures["requests_changed"] > found.figures["requests_unchanged"] > 0
