"""vLLM's `run-batch` behind the interface of a batch API: a process on this machine, which writes only at its end."""

import datetime as dt
import json
import os
import shutil
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import suppress
from pathlib import Path

import psutil

from resources.llm.batches.provider import NAME, Limits, RemoteBatch
from resources.llm.completions import CallFailedError
from resources.llm.endpoint import Billing, PermanentEndpointError

_LINES = 1_000
"""Its memory grows with its lines, and a crash loses all of them."""


class RunBatch:
    """Batches that a command such as `vllm run-batch` answers, one process each. ``folder`` holds their files."""

    def __init__(self, command: Sequence[str], model: str, folder: Path) -> None:
        self._command, self._model, self._folder = tuple(command), model, folder
        self.limits = Limits(_LINES)

    def close(self) -> None:
        """Do nothing: the processes outlive this one."""

    def upload(self, path: Path, job: str) -> str:
        """Copy the requests of a job into the folder. Return the file's name."""
        self._folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        target = self._path(f"{NAME}{job}.jsonl")
        shutil.copyfile(path, target.with_suffix(".part"))
        target.with_suffix(".part").replace(target)
        return target.name

    def create(self, file_id: str, job: str) -> RemoteBatch:
        """Start the command, unless it was started for this job before."""
        source, mark = self._path(file_id), self._path(f"{NAME}{job}.pid")
        out, log = source.with_suffix(".out"), source.with_suffix(".log")
        try:
            claim = mark.open("x")
        except FileExistsError:
            return self.batch(job)
        # The output gets its name when it is whole. The inner shell outlives this process, and renames it.
        words = [*self._command, "-i", str(source), "-o", f"{out}.part", "--model", self._model]
        script = '("$@" && mv -- "$OUT.part" "$OUT") <&- >"$LOG" 2>&1 & echo $!'
        try:
            with claim:
                done = subprocess.run(
                    ["/bin/sh", "-c", script, "sh", *words],
                    env={**os.environ, "OUT": str(out), "LOG": str(log)},
                    stdin=subprocess.DEVNULL,
                    stdout=subprocess.PIPE,
                    start_new_session=True,
                    check=True,
                )
                with suppress(psutil.NoSuchProcess):  # it has ended already
                    json.dump([int(done.stdout), psutil.Process(int(done.stdout)).create_time()], claim)
        except (OSError, subprocess.CalledProcessError) as error:
            mark.unlink()
            message = f"{self._command[0]} could not be started: {error}."
            raise CallFailedError(PermanentEndpointError(message), Billing.NO) from None
        return self.batch(job)

    def batches(self, since: dt.datetime) -> Iterator[RemoteBatch]:
        """Yield the batches of the folder. ``since`` is not needed: there are few."""
        for mark in sorted(self._folder.glob(f"{NAME}*.pid")):
            yield self.batch(mark.stem.removeprefix(NAME))

    def batch(self, batch_id: str) -> RemoteBatch:
        """Return a batch as it is now. A process that ended without an output has failed."""
        name = f"{NAME}{batch_id}"
        has_ended = not self._process(name)  # asked first: the output appears before the process is gone
        if self._path(f"{name}.out").exists():
            return RemoteBatch(batch_id, "completed", f"{name}.jsonl", (f"{name}.out",), batch_id)
        log = self._path(f"{name}.log")
        last = log.read_text(errors="replace").strip()[-200:] if log.exists() else ""
        return RemoteBatch(
            batch_id, "failed" if has_ended else "in_progress", f"{name}.jsonl", (), batch_id, completed=0, errors=last
        )

    def cancel(self, batch_id: str) -> None:
        """End the process, and those that it started."""
        process = self._process(f"{NAME}{batch_id}")
        for each in [*process.children(recursive=True), process] if process else []:
            each.terminate()

    def download(self, file_id: str, path: Path) -> None:
        """Copy a file of the folder."""
        shutil.copyfile(self._path(file_id), path)

    def files_of(self, job: str) -> list[str]:
        """Return the names of a job's files."""
        return sorted(path.name for path in self._folder.glob(f"{NAME}{job}.*"))

    def delete(self, file_id: str) -> None:
        """Delete a file; with the requests, everything of the job."""
        for path in (
            self._folder.glob(f"{Path(file_id).stem}.*") if file_id.endswith(".jsonl") else [self._path(file_id)]
        ):
            path.unlink(missing_ok=True)

    def _path(self, name: str) -> Path:
        return self._folder / Path(name).name

    def _process(self, name: str) -> psutil.Process | None:
        """Return the running process of a batch. Its start time tells it from another one with its number."""
        try:
            pid, created = json.loads(self._path(f"{name}.pid").read_text())
            process = psutil.Process(pid)
            is_running = process.create_time() == created and process.status() != psutil.STATUS_ZOMBIE
        except (OSError, ValueError, psutil.Error):
            return None
        return process if is_running else None
