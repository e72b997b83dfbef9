"""The plan of a window's merges: every file once, bounded steps, a bucket complete only with its last file."""

from dataclasses import dataclass

from hypothesis import given
from hypothesis import strategies as st

from assets.transforms.source.windows import plan_merges


@dataclass(frozen=True)
class File:
    name: int
    bucket: int
    rows: int


files = st.lists(st.tuples(st.integers(0, 7), st.integers(1, 50)), max_size=20).map(
    lambda found: [File(name, bucket, rows) for name, (bucket, rows) in enumerate(found)]
)
due = st.sets(st.integers(0, 7)).map(sorted)


@given(files, due, st.integers(1, 80))
def test_every_due_file_is_merged_once_and_every_due_bucket_completes_once(
    found: list[File], buckets: list[int], max_rows: int
) -> None:
    steps = plan_merges(found, buckets, max_rows)
    wanted = [file for file in found if file.bucket in buckets]
    assert sorted(file.name for step in steps for file in step.files) == [file.name for file in wanted]
    completed = [bucket for step in steps for bucket in step.completes]
    assert sorted(completed) == (buckets if wanted else [])


@given(files, due, st.integers(1, 80))
def test_steps_are_bounded_and_complete_no_bucket_early(found: list[File], buckets: list[int], max_rows: int) -> None:
    steps = plan_merges(found, buckets, max_rows)
    for number, step in enumerate(steps):
        assert sum(file.rows for file in step.files) <= max_rows or len(step.files) == 1
        later = {bucket for after in steps[number + 1 :] for bucket in after.buckets}
        assert not later & set(step.completes)


def test_small_buckets_share_a_commit() -> None:
    steps = plan_merges([File(0, 0, 10), File(1, 1, 10), File(2, 3, 10)], [0, 1, 2, 3], 100)
    assert [(step.buckets, step.completes) for step in steps] == [((0, 1, 3), (0, 1, 2, 3))]
