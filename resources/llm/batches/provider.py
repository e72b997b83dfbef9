"""What a batch API does, whoever serves it, and what a batch looks like there."""

import datetime as dt
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from resources.spend.prices import Usage

ENDED = frozenset(("completed", "failed", "expired", "cancelled"))
"""States, in lower case, in which nothing more is answered or billed. Each may have answers."""
NAME = "cippus-"
"""How the names of our files begin at a provider."""


@dataclass(frozen=True)
class Limits:
    """The most requests and bytes of a batch, and the fewest requests."""

    requests: int = 50_000
    size_bytes: int = 200 << 20
    least: int = 1


@dataclass(frozen=True)
class RemoteBatch:
    """A batch at a provider. ``job`` is our name for it, if the provider keeps one. ``completed`` and ``usage`` are the
    answers and tokens that it billed, None where it does not say."""

    id: str
    state: str
    input_file: str
    files: tuple[str, ...] = ()
    job: str = ""
    created_at: dt.datetime | None = None
    completed: int | None = None
    usage: Usage | None = None
    errors: str = ""

    @property
    def is_ended(self) -> bool:
        """Return whether nothing more is answered or billed."""
        return self.state in ENDED


class BatchProvider(Protocol):
    """A batch API. Methods raise CallFailedError, which says whether the request may have been billed."""

    limits: Limits

    def upload(self, path: Path, job: str) -> str:
        """Upload the requests of a job. Return the file's id."""

    def create(self, file_id: str, job: str) -> RemoteBatch:
        """Start a batch, by one request that is never repeated."""

    def batches(self, since: dt.datetime) -> Iterator[RemoteBatch]:
        """Yield the account's batches that were made since then, also those of others."""

    def batch(self, batch_id: str) -> RemoteBatch:
        """Return a batch as it is now."""

    def cancel(self, batch_id: str) -> None:
        """Ask for a batch to end. What was answered until it ends is billed."""

    def download(self, file_id: str, path: Path) -> None:
        """Write a file of answers or errors to a path."""

    def files_of(self, job: str) -> list[str]:
        """Return the ids of the files that were uploaded for a job."""

    def delete(self, file_id: str) -> None:
        """Delete a file. A file that is gone is no error."""

    def close(self) -> None:
        """Close the connections."""
