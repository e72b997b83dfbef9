"""Reading functions that behave as libraries do on hostile files; a disposable process runs them by name."""

import os
import signal
import sys
from collections.abc import Iterator

import polars as pl
import pyarrow as pa

from resources.isolation.worker import RefusedFileError


class Panic(BaseException):
    """As a panic in Rust looks to Python: no Exception."""


def numbers(count: int, size: int = 1) -> Iterator[pa.Table]:
    """Yield tables of ``size`` rows with the number of each table."""
    for number in range(count):
        yield pa.table({"n": [number] * size})


def refused() -> Iterator[pa.Table]:
    yield pa.table({"n": [0]})
    raise RefusedFileError("the file has no column x")


def failing() -> Iterator[pa.Table]:
    raise ValueError("no magic bytes\nand more")


def panicking() -> Iterator[pa.Table]:
    raise Panic("out-of-range datetime")


def ended_by(number: int) -> Iterator[pa.Table]:
    yield pa.table({"n": [0]})
    os.kill(os.getpid(), number)


def python_memory() -> Iterator[pa.Table]:
    yield pa.table({"n": [len(bytearray(1 << 40))]})


def arrow_memory() -> Iterator[pa.Table]:
    yield pa.table({"n": [pa.allocate_buffer(1 << 40).size]})


def rust_memory() -> Iterator[pa.Table]:
    """Rust aborts a process that cannot allocate."""
    yield pl.repeat(1.0, 1 << 37, eager=True).to_frame().to_arrow()


def growing() -> Iterator[pa.Table]:
    held = [b""]
    while True:
        held.append(bytes(16 << 20))


def busy() -> Iterator[pa.Table]:
    while True:
        pass


def asleep() -> Iterator[pa.Table]:
    yield pa.table({"n": [0]})
    signal.pause()


def printing() -> Iterator[pa.Table]:
    print("noise " * 1000, flush=True)  # noqa: T201
    os.write(1, b"noise")
    yield pa.table({"n": [0]})


def leaving() -> Iterator[pa.Table]:
    sys.exit("gone")


def environment() -> Iterator[pa.Table]:
    yield pa.table({"name": sorted(os.environ)})


def identity() -> Iterator[pa.Table]:
    yield pa.table({"pid": [os.getpid()], "parent": [os.getppid()], "threads": [len(os.listdir("/proc/self/task"))]})  # noqa: PTH208
