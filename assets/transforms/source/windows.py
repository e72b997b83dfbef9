"""Divide a window's files into merges of bounded size."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Generic, Protocol, TypeVar


class FileOfBucket(Protocol):
    """A file with rows of one bucket."""

    @property
    def bucket(self) -> int: ...  # noqa: D102

    @property
    def rows(self) -> int: ...  # noqa: D102


F = TypeVar("F", bound=FileOfBucket)


@dataclass(frozen=True)
class MergeStep(Generic[F]):
    """One commit: the files to merge, and the buckets that are complete after it."""

    files: tuple[F, ...]
    completes: tuple[int, ...]

    @property
    def buckets(self) -> tuple[int, ...]:
        """Return the buckets of the files."""
        return tuple(sorted({file.bucket for file in self.files}))


def plan_merges(files: Sequence[F], due: Sequence[int], max_rows: int) -> list[MergeStep[F]]:
    """Return the commits that merge a window into the ``due`` buckets.

    Small buckets share a commit. A bucket larger than ``max_rows`` takes several, and the last one completes it, so a
    crash in between repeats the bucket. Due buckets without rows complete with the first commit. Without files of due
    buckets there are no commits. A step has at most ``max_rows`` rows, or one file.
    """
    ordered = sorted((file for file in files if file.bucket in set(due)), key=lambda file: file.bucket)
    packs: list[list[F]] = []
    for file in ordered:
        if packs and sum(packed.rows for packed in packs[-1]) + file.rows <= max_rows:
            packs[-1].append(file)
        else:
            packs.append([file])
    last = {file.bucket: number for number, pack in enumerate(packs) for file in pack}
    return [
        MergeStep(tuple(pack), tuple(sorted(b for b in due if last.get(b, 0) == number)))
        for number, pack in enumerate(packs)
    ]
