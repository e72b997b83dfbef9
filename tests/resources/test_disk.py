"""A full disk is one sentence, before a mapped file ends the process, and in place of the errors of servers."""

import shutil
from collections import namedtuple
from pathlib import Path

import numpy as np
import pytest
from dagster import Failure

from assets.framework.asset import stopping_unless_transient
from resources.disk import LEAST_FREE_BYTES, NoSpaceError, full_disk, require_space
from resources.errors import TransientFailure
from resources.vectors.edge.generations import EdgeGenerations
from resources.vectors.generations import IndexConfig
from resources.vectors.values import IndexPoint, SparseVector

Usage = namedtuple("Usage", "total used free")
GIB = 1 << 30


@pytest.fixture
def disk(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The free bytes of every disk, of 10 GiB."""
    free = [5 * GIB]
    monkeypatch.setattr(shutil, "disk_usage", lambda _: Usage(10 * GIB, 10 * GIB - free[0], free[0]))
    return free


def test_space_is_required_before_a_write(disk: list[int], tmp_path: Path) -> None:
    require_space(tmp_path)
    disk[0] = LEAST_FREE_BYTES - 1
    with pytest.raises(NoSpaceError) as raised:
        require_space(tmp_path)
    assert str(raised.value) == (
        f"No space left on the disk of {tmp_path}: 127 MiB are free, and the next write needs 128 MiB. "
        "Free some space and run again; the run goes on where it ended."
    )


def test_the_index_stops_before_the_disk_is_full_and_goes_on_afterwards(disk: list[int], tmp_path: Path) -> None:
    """The engine maps its files: a write to a full disk was a bus error."""
    point = IndexPoint("00000000-0000-0000-0000-000000000001", np.ones(4, np.float32), SparseVector.of([1], [1.0]), {})
    with EdgeGenerations.lock(tmp_path, 5) as generations:
        index = generations.open(generations.create(IndexConfig("model", 4, "text")))
        disk[0] = LEAST_FREE_BYTES - 1
        for write in (lambda: index.upsert([point]), index.optimize, lambda: index.delete([point.id])):
            with pytest.raises(NoSpaceError, match="No space left on the disk of"):
                write()
        with pytest.raises(NoSpaceError):
            generations.create(IndexConfig("other", 4, "text"))
        disk[0] = 5 * GIB
        assert index.upsert([point]) == 1


def test_any_failure_on_a_full_disk_is_that_the_disk_is_full(disk: list[int], home: Path) -> None:
    def fail() -> None:
        with stopping_unless_transient(0):
            raise TransientFailure("S3 answered InternalError.")

    with pytest.raises(Failure, match=r"S3 answered InternalError\.") as transient:
        fail()
    assert transient.value.allow_retries
    disk[0] = GIB // 100
    with pytest.raises(Failure) as raised:
        fail()
    assert not raised.value.allow_retries
    assert str(raised.value.description).startswith(f"No space left on the disk of {home}: 10 of 10,240 MiB are free.")


def test_production_has_no_disk_of_its_own(disk: list[int], home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CIPPUS_ENV", "production")
    disk[0] = 0
    with pytest.raises(Failure, match=r"S3 answered InternalError\."), stopping_unless_transient(0):
        raise TransientFailure("S3 answered InternalError.")
    assert full_disk(home / "absent") is None
