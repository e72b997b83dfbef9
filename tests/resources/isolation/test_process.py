"""A file that kills, hangs or floods its reader ends that process only, with a reason; the next file is read."""

import os
import signal
from collections.abc import Callable, Iterator
from contextlib import suppress
from typing import Any

import psutil
import pyarrow as pa
import pytest

from resources.isolation import process
from resources.isolation.process import Limits, UnreadableFileError, read
from tests.fakes import hostile_readers as hostile

SMALL = Limits(memory_bytes=256 << 20, seconds=60)


def reason(function: Callable[..., Iterator[pa.Table]], *arguments: Any, limits: Limits = SMALL) -> str:
    with pytest.raises(UnreadableFileError) as raised:
        list(read(function, *arguments, limits=limits))
    return str(raised.value)


def rows(function: Callable[..., Iterator[pa.Table]], *arguments: Any) -> list[dict[str, Any]]:
    return [row for table in read(function, *arguments, limits=SMALL) for row in table.to_pylist()]


def test_tables_come_as_they_are_read() -> None:
    assert rows(hostile.numbers, 3) == [{"n": 0}, {"n": 1}, {"n": 2}]
    assert rows(hostile.numbers, 0) == []
    assert rows(hostile.printing) == [{"n": 0}]


def test_a_file_that_is_refused_or_fails_leaves_the_server_running() -> None:
    [before] = rows(hostile.identity)
    assert reason(hostile.refused) == "the file has no column x"
    assert reason(hostile.failing) == "the file cannot be read: no magic bytes"
    assert reason(hostile.panicking) == "the file cannot be read: out-of-range datetime"
    assert reason(hostile.leaving) == "the file cannot be read: gone"
    assert reason(hostile.python_memory) == "reading the file takes more than 256 MiB of memory"
    assert reason(hostile.arrow_memory) == "reading the file takes more than 256 MiB of memory"
    assert reason(hostile.growing) == "reading the file takes more than 256 MiB of memory"
    [after] = rows(hostile.identity)
    assert after["parent"] == before["parent"]
    assert after["pid"] != before["pid"]
    assert after["threads"] == 1


@pytest.mark.parametrize(
    ("number", "expected"),
    [
        (signal.SIGSEGV, "the process that read the file was ended by SIGSEGV"),
        (signal.SIGBUS, "the process that read the file was ended by SIGBUS"),
        (signal.SIGABRT, "the process that read the file was ended by SIGABRT"),
        (signal.SIGXCPU, "reading the file takes longer than 60 seconds"),
        (signal.SIGKILL, "reading the file takes more than 256 MiB of memory"),
    ],
)
def test_a_file_that_kills_its_reader_has_a_reason_and_the_next_is_read(number: int, expected: str) -> None:
    assert reason(hostile.ended_by, number) == expected
    assert rows(hostile.numbers, 1) == [{"n": 0}]


def test_rust_aborts_when_it_cannot_allocate() -> None:
    assert reason(hostile.rust_memory) == "reading the file takes more than 256 MiB of memory"


@pytest.mark.parametrize("function", [hostile.busy, hostile.asleep])
def test_a_file_that_hangs_its_reader(function: Callable[..., Iterator[pa.Table]]) -> None:
    limits = Limits(seconds=1)
    assert rows(hostile.numbers, 1) == [{"n": 0}]  # the server runs
    assert reason(function, limits=limits) == "reading the file takes longer than 1 seconds"


def test_files_may_be_read_side_by_side_and_left_unread() -> None:
    first, second = read(hostile.numbers, 2), read(hostile.numbers, 2)
    assert [next(first)["n"][0].as_py(), next(second)["n"][0].as_py()] == [0, 0]
    assert [next(first)["n"][0].as_py(), next(second)["n"][0].as_py()] == [1, 1]
    first.close()  # in the middle: its processes end
    assert list(second) == []
    large = read(hostile.numbers, 1000, 100_000)
    next(large)
    large.close()
    servers = set()
    for child in psutil.Process().children():
        with suppress(psutil.ZombieProcess):  # it has ended, and nobody has waited for it yet
            servers |= {child.pid} if "resources.isolation.worker" in child.cmdline() else set()
    assert servers <= set(process.idle_servers())


def test_a_reader_has_no_secrets_and_no_core_dump(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "secret")
    process.end_idle_servers()
    names = {row["name"] for row in rows(hostile.environment)}
    assert "AWS_SECRET_ACCESS_KEY" not in names
    assert not names & {name for name in os.environ if name.startswith(("AWS", "CIPPUS", "HOME"))}
