"""The headline of a failed step is its sentence, in the command's report and in Dagster's log."""

import logging

import dagster
import obstore
import polars
import pyarrow
import pytest
from botocore.exceptions import ClientError
from dagster import DagsterInstance, RetryPolicy

from assets.framework.asset import asset
from assets.framework.incremental import RunMetrics
from pipelines.cli import main as command
from pipelines.cli.lineage import _failures
from resources.errors import PermanentFailure, TransientFailure

SENTENCE = "CIPPUS_BUCKETS is 8: set it to 16."


def _raise(kind: type[Exception], text: str, cause: Exception | None) -> None:
    raise kind(text) from cause


@pytest.mark.parametrize("cause", [None, ValueError("a cause that says less"), OSError(5, "Input/output error")])
@pytest.mark.parametrize("kind", [PermanentFailure, TransientFailure])
def test_the_headline_is_the_sentence_whatever_caused_it(
    kind: type[Exception], cause: Exception | None, caplog: pytest.LogCaptureFixture
) -> None:
    @asset(key=["raw", "posts"], retry_policy=RetryPolicy(max_retries=0))
    def posts(context: dagster.AssetExecutionContext) -> RunMetrics:
        _raise(kind, f"{SENTENCE}\nMore.", cause)
        return RunMetrics()

    with DagsterInstance.ephemeral() as instance:
        job = dagster.Definitions([posts]).resolve_implicit_global_asset_job_def()
        result = job.execute_in_process(instance=instance, raise_on_error=False)
        logged = [entry.user_message for entry in instance.all_logs(result.run_id) if entry.level == logging.ERROR]
    assert _failures(result) == {"raw/posts": SENTENCE}
    assert logged[0].startswith(SENTENCE)


def test_an_error_of_a_library_is_its_own_sentence() -> None:
    @asset(key=["raw", "posts"])
    def posts(context: dagster.AssetExecutionContext) -> RunMetrics:
        raise ClientError({"Error": {"Code": "AccessDenied", "Message": "No."}}, "PutObject")

    job = dagster.Definitions([posts]).resolve_implicit_global_asset_job_def()
    result = job.execute_in_process(raise_on_error=False)
    expected = "An error occurred (AccessDenied) when calling the PutObject operation: No."
    assert _failures(result) == {"raw/posts": expected}


OF_LIBRARIES = (
    polars.exceptions.ComputeError("\nparquet: File out of specification\n\nResolved plan until failure: …"),
    polars.exceptions.ColumnNotFoundError("likes\nResolved plan until failure: …"),
    polars.exceptions.PanicException("index out of bounds\nstack backtrace: …"),
    obstore.exceptions.GenericError("Generic S3 error: error sending request\nDebug source: …"),
    obstore.exceptions.NotFoundError("Object at location raw/x not found"),
    pyarrow.ArrowInvalid("Parquet magic bytes not found in footer"),
    PermissionError(13, "Permission denied", "raw/[red]x"),
)


@pytest.mark.parametrize("error", OF_LIBRARIES, ids=lambda error: type(error).__name__)
def test_an_error_of_a_library_that_reaches_the_user_is_one_sentence(
    error: BaseException, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def fail(**_how: bool) -> None:
        raise error

    monkeypatch.setattr(command, "app", fail)
    with pytest.raises(SystemExit) as ended:
        command.main()
    said = capsys.readouterr()
    assert (ended.value.code, said.out) == (1, "")
    [sentence] = said.err.splitlines()
    assert sentence.startswith("cippus: ")
    assert next(line for line in str(error).splitlines() if line.strip()) in sentence


@pytest.mark.parametrize(
    "defect", [KeyError("likes"), ZeroDivisionError(), SystemExit(3), KeyboardInterrupt()], ids=repr
)
def test_a_defect_keeps_its_traceback(defect: BaseException, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(**_how: bool) -> None:
        raise defect

    monkeypatch.setattr(command, "app", fail)
    with pytest.raises(type(defect)):
        command.main()
