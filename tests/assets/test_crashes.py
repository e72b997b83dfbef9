"""kill -9 anywhere, and a rerun: the same tables, points and marts as if nothing had happened.

A run is killed at one moment after another, each time a little further on, until the last one gets through. After
each kill the stages before the one that was hit must already hold what an undisturbed run leaves.
"""

import signal
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from resources.local_stack import EmbeddedStack
from tests.worlds.crash_runner import Child, crash_runner
from tests.worlds.lineage import World
from tests.worlds.lineage_rows import ACCOUNTS, FIRST, LAST
from tests.worlds.loaded import empty_world, loaded_world, world_name
from tests.worlds.snapshot import Snapshot, assert_same, assert_same_tables

Moments = dict[str, tuple[str, int, list[str]]]
LATER = ACCOUNTS[8]

FIRST_LOAD: Moments = {
    "raw: a file is written, no manifest": ("after PUT .*/raw/posts/.*/part-", 1, []),
    "raw: the manifest is written, unanswered": ("after PUT .*/raw/posts/.*/manifests/", 1, []),
    "lake: data files are written, no commit": ("before PUT .*/lake/posts/_delta_log/0*1.json", 1, []),
    "corpus: data files are written, no commit": ("before PUT .*/corpus/cippus_text/_delta_log/0*1.json", 1, []),
    "corpus: a bucket is committed, unrecorded": ("before PUT .*/ledger/corpus/cippus_text/", 1, ["lake/posts"]),
    "embedding: a commit is written, unanswered": (
        "after PUT .*/embedding/cippus_text/_delta_log/0*1.json", 1, ["corpus/decisions", "corpus/cippus_text"],
    ),
    "embedding: texts are copied, others embedded and unwritten": (
        "before PUT .*/embedding/cippus_text/.*parquet", 2, [],
    ),
    "qdrant: the collection is half made": ("before index birth", 1, ["vertical/tags"]),
    "qdrant: a bucket's points are written, unrecorded": ("after index update", 1, []),
    "marts: data files are written, no commit": (
        "before PUT .*/mart/creators/_delta_log/0*1.json", 1, ["vertical/tags"],
    ),
    "qdrant: the first generation is judged, not served": ("before index swap", 1, ["vertical/tags", "mart/creators"]),
    "marts: some files are exported": ("after PUT .*/quicksight/creators/data/", 1, ["mart/creators"]),
}  # fmt: skip
"""What happened → the event that the run is killed at, which of those, and the tables that stand by then."""

CHANGE: Moments = {
    "lake: a moved post's files are written, no commit": ("before PUT .*/lake/posts/_delta_log/", 1, []),
    "lake: the merge is committed, unanswered": ("after PUT .*/lake/posts/_delta_log/", 1, []),
    "corpus: the merge is uncommitted": ("before PUT .*/corpus/cippus_text/_delta_log/", 1, ["lake/posts"]),
    "qdrant: points are deleted, none written": ("after index update", 1, ["embedding/cippus_text"]),
    "marts: the merge is committed, unanswered": ("after PUT .*/mart/creators/_delta_log/", 1, ["vertical/tags"]),
}  # fmt: skip


@pytest.fixture(scope="module")
def child(stack: EmbeddedStack) -> Iterator[Child]:
    with crash_runner(stack) as run:
        yield run


def kill_in_turn(child: Child, world: World, moments: Moments, expected: Snapshot) -> None:
    """A run for each moment, killed there, and one that gets through; then nothing is left to do."""
    for what, (pattern, nth, standing) in moments.items():
        assert child(world, pattern, nth) == -signal.SIGKILL, what
        try:
            assert_same_tables(world.tables(standing), expected.tables)
        except AssertionError as error:
            raise AssertionError(f"after {what!r}: {error}") from None
    assert child(world, "never", 1) == 0
    assert_same(world.snapshot(), expected)
    objects = world.objects()
    world.run_well()
    assert not world.embedder.embedded
    assert world.objects() == objects


def test_moments_cover_the_stages() -> None:
    stages = Counter(what.split(":")[0] for what in (*FIRST_LOAD, *CHANGE))
    assert {stage for stage, moments in stages.items() if moments >= 2} >= {
        "raw", "lake", "corpus", "embedding", "qdrant", "marts"
    }  # fmt: skip


def test_a_first_load_that_is_killed_again_and_again_ends_the_same(
    child: Child, stack: EmbeddedStack, tmp_path: Path
) -> None:
    world = empty_world(stack, world_name("first-load-killed"), tmp_path)
    kill_in_turn(child, world, FIRST_LOAD, loaded_world(stack).snapshot())


def test_a_change_that_is_killed_again_and_again_ends_the_same(
    child: Child, stack: EmbeddedStack, tmp_path: Path
) -> None:
    undisturbed = loaded_world(stack).clone(world_name("change-undisturbed"), tmp_path / "undisturbed")
    with undisturbed.source() as connection:
        now = "updated_at = clock_timestamp()"
        connection.execute(f"UPDATE posts SET text = 'Edited', {now} WHERE post_id = %s".encode(), (f"{FIRST}/0",))
        connection.execute(f"UPDATE posts SET account_id = %s, {now} WHERE post_id = %s".encode(), (LAST, f"{FIRST}/1"))
        connection.execute(f"UPDATE accounts SET deleted_at = now(), {now} WHERE account_id = %s".encode(), (LATER,))
    killed = undisturbed.clone(world_name("change-killed"), tmp_path / "killed")
    undisturbed.run_well()
    kill_in_turn(child, killed, CHANGE, undisturbed.snapshot())
