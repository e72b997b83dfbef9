"""Generations of the collection in Qdrant Edge: a folder each, and a small file with the aliases."""

import fcntl
import json
import os
import shutil
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tenacity import Retrying, retry_if_exception_type, stop_after_delay, wait_fixed

from resources.disk import require_space
from resources.settings import bucket_count
from resources.vectors.edge.changes import ChangedBuckets
from resources.vectors.edge.index import EdgeIndex
from resources.vectors.edge.shard import create_shard, read_metadata, write_metadata
from resources.vectors.generations import PREVIOUS, SERVING, Generation, Generations, IndexConfig, generation_number
from resources.vectors.published.copy import ReadersCopy, publish, read_manifest, withdraw
from resources.vectors.values import IndexPoint, IndexUnavailableError, VectorIndexError

ALIASES_FILE = "aliases.json"
_LOCK_POLL_SECONDS = 0.05


class EdgeGenerations(Generations):
    """``Generations`` in a folder. Open it with ``EdgeGenerations.lock``: it is not safe without the lock."""

    def __init__(self, folder: Path) -> None:
        self.place = str(folder)
        self._folder = folder
        self._opened: dict[str, EdgeIndex] = {}

    @classmethod
    @contextmanager
    def lock(cls, folder: Path, timeout_seconds: float) -> Iterator["EdgeGenerations"]:
        """Yield the folder's generations under its lock. Raise IndexUnavailableError after ``timeout_seconds``.

        What changed meanwhile in the generation that is served is then published for readers, who need no lock. After
        an error nothing is published: the next holder of the lock does it.
        """
        folder.mkdir(parents=True, exist_ok=True)
        with _exclusive(folder / f"{SERVING}.lock", timeout_seconds):
            found = cls(folder)
            try:
                yield found
                found._publish()
            finally:
                for index in found._opened.values():
                    index.close()

    def create(self, index_config: IndexConfig) -> Generation:
        """See Generations. Built aside and renamed, so that a killed process leaves no half-made collection."""
        names = [*self._names(), *self._aliases().values()]
        number = 1 + max((generation_number(name) or 0 for name in names), default=0)
        made = Generation(number, str(uuid.uuid4()), index_config)
        shutil.rmtree(self._folder / SERVING, ignore_errors=True)  # from before there were generations
        require_space(self._folder)
        building = self._folder / f"{SERVING}.building"
        shutil.rmtree(building, ignore_errors=True)
        create_shard(building, index_config)
        write_metadata(building, made)
        building.rename(self._folder / made.name)
        return made

    def open(self, generation: Generation) -> EdgeIndex:
        """See Generations. The index is closed with the lock."""
        place = self._folder / self._read(generation.name).name
        if generation.name not in self._opened:
            # A generation that is not published yet is published whole.
            self._opened[generation.name] = EdgeIndex(
                place, ChangedBuckets(place) if self._is_published(place) else None
            )
        return self._opened[generation.name]

    def readers_points(self) -> Iterator[IndexPoint]:
        """See Generations."""
        opened = ReadersCopy(self._folder).open()
        return iter(()) if opened is None else opened[1].points()

    def _is_published(self, place: Path) -> bool:
        manifest = read_manifest(self._folder)
        return manifest is not None and manifest.generation.id == read_metadata(place).id

    def _publish(self) -> None:
        try:
            serving = self.serving()
        except VectorIndexError:  # the aliases cannot be read, which says whoever needs them
            return
        if serving is None:
            withdraw(self._folder)
            return
        index = self.open(serving)
        changes = index.changes
        publish(
            self._folder,
            serving,
            changes.all() if changes is not None else (),
            range(bucket_count()),
            index.scroll_points,
        )
        if changes is not None:
            changes.clear()

    def _delete(self, generation: Generation) -> None:
        """Rename first, so that a killed process leaves no half-deleted collection."""
        if generation.name in self._opened:
            self._opened.pop(generation.name).close()
        doomed = self._folder / f"{SERVING}.dropped"
        shutil.rmtree(doomed, ignore_errors=True)
        if (self._folder / generation.name).exists():
            (self._folder / generation.name).rename(doomed)
        shutil.rmtree(doomed, ignore_errors=True)

    def _names(self) -> list[str]:
        return [path.name for path in self._folder.iterdir()]

    def _read(self, name: str) -> Generation:
        return read_metadata(self._folder / name)

    def _write(self, generation: Generation) -> None:
        write_metadata(self._folder / generation.name, generation)

    def _aliases(self) -> dict[str, str]:
        path = self._folder / ALIASES_FILE
        try:
            found = {str(alias): str(name) for alias, name in json.loads(path.read_text()).items()}
            if any(generation_number(name) is None for name in found.values()):  # would be used as a path
                raise ValueError(f"expected names of generations, found {', '.join(found.values())}")
        except FileNotFoundError:
            return {}
        except (OSError, ValueError, AttributeError) as error:
            raise VectorIndexError(
                f"{path} cannot be read: {error}. Delete it, and the next run promotes a generation again."
            ) from error
        return found

    def _swap(self, serving: str, previous: str | None) -> None:
        temporary = self._folder / f"{ALIASES_FILE}.tmp"
        with temporary.open("w") as file:
            json.dump({SERVING: serving} | ({PREVIOUS: previous} if previous else {}), file)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(self._folder / ALIASES_FILE)


@contextmanager
def _exclusive(path: Path, timeout_seconds: float) -> Iterator[None]:
    """Hold the lock file. The kernel frees it when the holder dies; the pid inside is for the error alone."""
    retry = Retrying(
        stop=stop_after_delay(timeout_seconds),
        wait=wait_fixed(_LOCK_POLL_SECONDS),
        retry=retry_if_exception_type(BlockingIOError),
        reraise=True,
    )
    with path.open("a+") as lock:
        try:
            retry(fcntl.flock, lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            holder = path.read_text().strip() or "unknown"
            raise IndexUnavailableError(f"{path} is held by process {holder}: waited {timeout_seconds:g} s.") from None
        lock.truncate(0)
        lock.write(str(os.getpid()))
        lock.flush()
        yield
