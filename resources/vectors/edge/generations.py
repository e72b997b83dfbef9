"""Generations of the collection in Qdrant Edge: a folder each, and one small file that says which is served."""

import fcntl
import json
import os
import shutil
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

from resources.vectors.edge.index import EdgeIndex
from resources.vectors.edge.shard import create_shard, read_birth, write_birth
from resources.vectors.generations import PREVIOUS, SERVING, Generation, Recipe, generation_number
from resources.vectors.values import CollectionMissingError, IndexUnavailableError, NoPreviousError, VectorIndexError

ALIASES_FILE = "aliases.json"
_LOCK_POLL_SECONDS = 0.05


class EdgeGenerations:
    """``Generations`` in a folder. Take it with ``EdgeGenerations.lock``: without the lock it is not safe."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._opened: dict[str, EdgeIndex] = {}

    @classmethod
    @contextmanager
    def lock(cls, folder: Path, timeout_seconds: float) -> Iterator["EdgeGenerations"]:
        """The folder's generations under its lock; IndexUnavailableError when another process keeps it for too long."""
        folder.mkdir(parents=True, exist_ok=True)
        with _exclusive(folder / f"{SERVING}.lock", timeout_seconds):
            found = cls(folder)
            try:
                yield found
            finally:
                for index in found._opened.values():
                    index.close()

    def all(self) -> list[Generation]:
        """See Generations."""
        paths = [path for path in self._folder.iterdir() if generation_number(path.name) is not None]
        return sorted((read_birth(path) for path in paths), key=lambda found: found.number)

    def serving(self) -> Generation | None:
        """See Generations."""
        return self._named(SERVING)

    def previous(self) -> Generation | None:
        """See Generations."""
        return self._named(PREVIOUS)

    def create(self, recipe: Recipe) -> Generation:
        """See Generations. Built aside and renamed, so that a killed process leaves no collection half made."""
        taken = [generation_number(path.name) or 0 for path in self._folder.iterdir()]
        taken += [generation_number(name) or 0 for name in self._aliases().values()]
        made = Generation(max([0, *taken]) + 1, str(uuid.uuid4()), recipe)
        shutil.rmtree(self._folder / SERVING, ignore_errors=True)  # from before there were generations
        building = self._folder / f"{SERVING}.building"
        shutil.rmtree(building, ignore_errors=True)
        create_shard(building, recipe)
        write_birth(building, made)
        building.rename(self._folder / made.name)
        return made

    def open(self, generation: Generation) -> EdgeIndex:
        """See Generations. It is closed with the lock."""
        if not (self._folder / generation.name).exists():
            message = f"There is no collection {generation.name} in {self._folder}."
            raise CollectionMissingError(message)
        return self._opened.setdefault(generation.name, EdgeIndex(self._folder / generation.name))

    def promote(self, generation: Generation) -> None:
        """See Generations."""
        before = self._aliases().get(SERVING)
        if before == generation.name:
            return
        self._swap(generation.name, before)
        self._hold(generation, held=False)

    def roll_back(self) -> Generation:
        """See Generations."""
        serving, previous = self.serving(), self.previous()
        if previous is None:
            message = f"There is no generation before the one that is served in {self._folder}."
            raise NoPreviousError(message)
        if serving is not None:
            self._hold(serving, held=True)
        self._swap(previous.name, serving.name if serving else None)
        return self._hold(previous, held=False)

    def drop(self, generation: Generation) -> None:
        """See Generations. Renamed first, so that a killed process leaves nothing that looks like a collection."""
        if self._aliases().get(SERVING) == generation.name:
            message = f"{generation.name} is served and cannot be dropped."
            raise VectorIndexError(message)
        if generation.name in self._opened:
            self._opened.pop(generation.name).close()
        doomed = self._folder / f"{SERVING}.dropped"
        shutil.rmtree(doomed, ignore_errors=True)
        if (self._folder / generation.name).exists():
            (self._folder / generation.name).rename(doomed)
        shutil.rmtree(doomed, ignore_errors=True)

    def _named(self, alias: str) -> Generation | None:
        name = self._aliases().get(alias)
        return read_birth(self._folder / name) if name and (self._folder / name).exists() else None

    def _aliases(self) -> dict[str, str]:
        path = self._folder / ALIASES_FILE
        try:
            found = {str(alias): str(name) for alias, name in json.loads(path.read_text()).items()}
        except FileNotFoundError:
            return {}
        except (OSError, ValueError, AttributeError) as error:
            message = f"{path} cannot be read. Delete it, and the next run promotes a generation anew."
            raise VectorIndexError(message) from error
        if any(generation_number(name) is None for name in found.values()):  # it would be taken for a path
            message = f"{path} names what is no generation. Delete it, and the next run promotes a generation anew."
            raise VectorIndexError(message)
        return found

    def _swap(self, serving: str, previous: str | None) -> None:
        temporary = self._folder / f"{ALIASES_FILE}.tmp"
        with temporary.open("w") as file:
            json.dump({SERVING: serving} | ({PREVIOUS: previous} if previous else {}), file)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(self._folder / ALIASES_FILE)

    def _hold(self, generation: Generation, *, held: bool) -> Generation:
        marked = replace(read_birth(self._folder / generation.name), held=held)
        write_birth(self._folder / generation.name, marked)
        return marked


@contextmanager
def _exclusive(path: Path, timeout_seconds: float) -> Iterator[None]:
    """Hold the lock file. The kernel frees it when the holder dies; the pid inside is for the error alone."""
    deadline = time.monotonic() + timeout_seconds
    with path.open("a+") as lock:
        while True:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if time.monotonic() >= deadline:
                    holder = path.read_text().strip() or "unknown"
                    message = f"{path} is held by process {holder}: waited {timeout_seconds:g} s."
                    raise IndexUnavailableError(message) from None
                time.sleep(_LOCK_POLL_SECONDS)
        lock.truncate(0)
        lock.write(str(os.getpid()))
        lock.flush()
        yield
