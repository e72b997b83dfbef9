"""vLLM's `run-batch`: a command that reads a file and writes another at its end. A script speaks its language here."""

import datetime as dt
import sys
from pathlib import Path

import psutil
import pytest

from resources.llm.batches.provider import RemoteBatch
from resources.llm.batches.run_batch import RunBatch
from resources.llm.completions import CallFailedError
from resources.llm.endpoint import Billing

COPY = "import shutil, sys; a = sys.argv; shutil.copyfile(a[a.index('-i') + 1], a[a.index('-o') + 1])"
NEVER = dt.datetime(2026, 1, 1, tzinfo=dt.UTC)


@pytest.fixture
def requests(tmp_path: Path) -> Path:
    path = tmp_path / "requests"
    path.write_text('{"custom_id": "a"}\n')
    return path


def ended(batches: RunBatch, job: str) -> RemoteBatch:
    """Wait for the process itself, and return its batch."""
    process = batches._process(f"cippus-{job}")
    if process:
        process.wait(30)
    return batches.batch(job)


def test_an_output_appears_when_it_is_whole_and_everything_goes_with_its_requests(
    tmp_path: Path, requests: Path
) -> None:
    batches = RunBatch([sys.executable, "-c", COPY], "m", tmp_path / "files")
    file = batches.upload(requests, "j1")
    assert batches.files_of("j1") == [file]
    started = batches.create(file, "j1")
    assert (started.id, started.job, started.input_file) == ("j1", "j1", file)
    assert ended(batches, "j1").files == ("cippus-j1.out",)
    assert batches.create(file, "j1").state == "completed", "the same job is not started again"
    assert [batch.id for batch in batches.batches(NEVER)] == ["j1"]
    batches.download("cippus-j1.out", tmp_path / "answers")
    assert (tmp_path / "answers").read_text() == requests.read_text()
    batches.delete(file)
    assert list((tmp_path / "files").iterdir()) == []


def test_a_command_that_fails_says_why(tmp_path: Path, requests: Path) -> None:
    batches = RunBatch([sys.executable, "-c", "raise SystemExit('no GPU')"], "m", tmp_path / "files")
    batches.create(batches.upload(requests, "j1"), "j1")
    failed = ended(batches, "j1")
    assert (failed.state, failed.files, failed.errors, failed.completed) == ("failed", (), "no GPU", 0)


def test_a_cancelled_batch_ends_with_its_processes(tmp_path: Path, requests: Path) -> None:
    batches = RunBatch([sys.executable, "-c", "import time; time.sleep(600)"], "m", tmp_path / "f")
    assert batches.create(batches.upload(requests, "j1"), "j1").state == "in_progress"
    process = batches._process("cippus-j1")
    assert process is not None
    batches.cancel("j1")
    assert psutil.wait_procs([process], 30)[1] == []
    assert batches.batch("j1").state == "failed"


def test_a_command_that_does_not_exist_costs_nothing(tmp_path: Path, requests: Path) -> None:
    batches = RunBatch([sys.executable], "m", tmp_path / "files")
    file = batches.upload(requests, "j1")
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr("resources.llm.batches.run_batch.subprocess.run", _refuse)
        with pytest.raises(CallFailedError, match="could not be started") as caught:
            batches.create(file, "j1")
    assert caught.value.billing is Billing.NO


def _refuse(*_: object, **__: object) -> None:
    raise OSError("no such file")
