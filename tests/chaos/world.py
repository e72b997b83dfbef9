"""The world that chaos runs share: two workers, a database, a bucket, request governors."""

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from resources.local_stack import EmbeddedStack
from resources.s3.governor.process import stop_all
from tests.chaos import verdict
from tests.chaos.fault_proxy import fault_proxy
from tests.chaos.source_database import as_reader, database, reset
from tests.chaos.steps import Place, Steps
from tests.chaos.worker import Worker, nursery


@dataclass(frozen=True)
class World:
    """Two workers, each with its own lane, a database, and a bucket; all are emptied between runs."""

    workers: tuple[Worker, Worker]
    direct: Steps
    dsn: str
    governors: Path

    def empty(self) -> None:
        """Delete all objects and rows."""
        for worker in self.workers:
            worker.lane.stop = None
            if worker.busy:  # a failed run has left it stopped
                worker.kill()
        self.direct.s3.delete(list(verdict.objects(self.direct)))
        reset(self.dsn)


@contextmanager
def world(stack: EmbeddedStack, name: str) -> Iterator[World]:
    """Create a world on an embedded stack. ``name`` is the name of its database and, with dashes, of its bucket."""
    with (
        database(stack.postgres_dsn.rpartition("/")[0] + "/postgres", name) as dsn,
        fault_proxy(stack.s3_endpoint, lanes=2) as lanes,
        nursery() as forking,
        _governors() as governors,
    ):
        bucket, keys = name.replace("_", "-"), (stack.s3_access_key_id, stack.s3_secret_access_key)
        direct = Steps(Place(dsn, stack.s3_endpoint, *keys, bucket))
        direct.s3.client.create_bucket(Bucket=bucket)
        workers = [Worker(forking, lane, Place(as_reader(dsn), lane.endpoint, *keys, bucket)) for lane in lanes]
        try:
            yield World((workers[0], workers[1]), direct, dsn, governors)
        finally:
            for worker in workers:
                worker.kill()
            direct.s3.delete(list(verdict.objects(direct)))
            direct.s3.client.delete_bucket(Bucket=bucket)


@contextmanager
def _governors() -> Iterator[Path]:
    """Yield a home for the request governors that workers start, and stop them afterwards."""
    with tempfile.TemporaryDirectory(prefix="cippus-") as home:
        try:
            yield Path(home)
        finally:
            stop_all(Path(home))
