"""Kinds of failure: a permanent one stops at once and says what to do, a transient one is repeated by the policy."""

import ast
import builtins
import errno
import warnings
from pathlib import Path

import adbc_driver_manager
import obstore
import polars
import psycopg
import pyarrow
import pytest
from botocore.exceptions import ClientError, EndpointConnectionError, NoCredentialsError, ReadTimeoutError
from dagster import AssetExecutionContext, RetryPolicy, materialize
from deltalake.exceptions import CommitFailedError, DeltaError

from assets.framework.asset import asset
from assets.framework.incremental import RunMetrics
from resources.errors import (
    InputError,
    PermanentFailure,
    TransientFailure,
    as_cippus_error,
    is_of_data,
    is_transient,
    is_transient_sqlstate,
)
from resources.llm.endpoint import PermanentEndpointError, TransientEndpointError
from resources.raw.store import BucketCountError, WindowTakenError
from resources.s3.client import DamagedObjectError
from resources.sources.postgres_errors import (
    SourcePermissionError,
    SourceQueryError,
    SourceTimeoutError,
    SourceUnavailableError,
    refused,
)
from resources.vectors.values import (
    CollectionMismatchError,
    CollectionMissingError,
    IndexAccessError,
    IndexUnavailableError,
)

ROOT = Path(__file__).parents[2]


def of_s3(code: str) -> ClientError:
    return ClientError({"Error": {"Code": code, "Message": "said"}}, "PutObject")


@pytest.mark.parametrize(
    ("error", "transient"),
    [
        (PermanentFailure("p"), False),
        (TransientFailure("t"), True),
        (WindowTakenError("w"), True),
        (BucketCountError("b"), False),
        (DamagedObjectError("d"), False),
        (IndexUnavailableError("i"), True),
        (IndexAccessError("i"), False),
        (CollectionMismatchError("c"), False),
        (TransientEndpointError("t"), True),
        (PermanentEndpointError("p"), False),
        (of_s3("SlowDown"), True),
        (of_s3("InternalError"), True),
        (of_s3("WriteInDoubt"), True),
        (of_s3("ExpiredToken"), True),
        (of_s3("AccessDenied"), False),
        (of_s3("NoSuchBucket"), False),
        (of_s3("InvalidAccessKeyId"), False),
        (EndpointConnectionError(endpoint_url="http://127.0.0.1:1"), True),
        (ReadTimeoutError(endpoint_url="http://127.0.0.1:1"), True),
        (NoCredentialsError(), False),
        (CommitFailedError("another commit was first"), True),
        (ConnectionResetError(errno.ECONNRESET, "reset"), True),
        (OSError("Generic S3 error: 503: <Error><Code>SlowDown</Code></Error>"), True),
        (OSError("Generic S3 error: 403: <Error><Code>AccessDenied</Code></Error>"), False),
        (OSError("Generic S3 error: error sending request for url"), True),
        (FileNotFoundError("part-1.parquet"), False),
        (PermissionError("AccessDenied"), False),
        (KeyError("a defect"), False),
        (ValueError("a defect"), False),
    ],
    ids=lambda value: f"{type(value).__name__}-{value}"[:60] if isinstance(value, Exception) else "",
)
def test_every_error_is_of_a_kind(error: Exception, transient: bool) -> None:
    assert is_transient(error) is transient


def test_every_answer_of_s3_that_passes_is_retried() -> None:
    busy = ("SlowDown", "ServiceUnavailable", "InternalError", "Throttling", "ThrottlingException", "500", "502", "503")
    again = ("TooManyRequestsException", "OperationAborted", "ConditionalRequestConflict", "WriteInDoubt")
    broken = ("RequestTimeout", "RequestTimeTooSkewed", "BadDigest", "IncompleteBody")
    passing = (*busy, *again, *broken, "ExpiredToken", "ExpiredTokenException")
    assert [code for code in passing if not is_transient(of_s3(code))] == []
    assert not is_transient(ClientError({}, "PutObject"))


def test_every_state_of_a_database_that_passes_is_retried() -> None:
    passing = ("", "08006", "25P03", "40001", "53300", "55P03", "57P01", "57P02", "57P03", "57P05", "58030", "XX000")
    lasting = ("22012", "25P02", "28P01", "42P01", "55000", "57014")
    assert [sqlstate for sqlstate in (*passing, *lasting) if is_transient_sqlstate(sqlstate)] == [*passing]


def test_every_exception_of_the_project_is_in_the_tree() -> None:
    bases: dict[str, set[str]] = {}
    for path in (path for top in ("pipelines", "assets", "resources") for path in (ROOT / top).rglob("*.py")):
        if "transforms" not in path.parts:
            classes = [node for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.ClassDef)]
            bases |= {found.name: {getattr(base, "id", "") for base in found.bases} for found in classes}
    builtin = {
        name for name, value in vars(builtins).items() if isinstance(value, type) and issubclass(value, Exception)
    }
    builtin = {name for name in vars(builtins) if name.endswith(("Error", "Exception"))}
    raised = {name for name, parents in bases.items() if name.endswith(("Error", "Failure")) or parents & builtin}

    def is_ours(name: str) -> bool:
        return name == "CippusError" or any(is_ours(base) for base in bases.get(name, ()))

    assert len(raised) > 40
    assert [name for name in sorted(raised) if not is_ours(name)] == []


@pytest.mark.parametrize(
    ("error", "exit_code", "may_retry"),
    [
        (InputError("i"), 2, False),
        (BucketCountError("b"), 2, False),
        (CollectionMissingError("c"), 2, False),
        (PermanentFailure("p"), 1, False),
        (IndexUnavailableError("i"), 1, True),
        (of_s3("SlowDown"), 1, True),
        (of_s3("AccessDenied"), 1, False),
        (DeltaError("d"), 1, False),
        (ConnectionResetError(errno.ECONNRESET, "reset"), 1, True),
        (FileNotFoundError("part-1.parquet"), 1, False),
        (psycopg.errors.AdminShutdown("s"), 1, True),
        (psycopg.errors.UndefinedTable("t"), 1, False),
        (polars.exceptions.ComputeError("Generic S3 error: <Error><Code>SlowDown</Code></Error>"), 1, True),
        (polars.exceptions.ComputeError("parquet: File out of specification"), 1, False),
        (polars.exceptions.SchemaError("type Float64 is incompatible with expected type Int64"), 1, False),
        (obstore.exceptions.GenericError("Generic S3 error: error sending request"), 1, True),
        (obstore.exceptions.PermissionDeniedError("<Error><Code>AccessDenied</Code></Error>"), 1, False),
        (obstore.exceptions.NotFoundError("Object at location x not found"), 1, False),
        (pyarrow.ArrowInvalid("Parquet magic bytes not found in footer"), 1, False),
    ],
    ids=lambda value: f"{type(value).__name__}-{value}"[:60] if isinstance(value, Exception) else "",
)
def test_the_command_exits_by_the_kind_of_failure(error: Exception, exit_code: int, may_retry: bool) -> None:
    found = as_cippus_error(error)
    assert found is not None
    assert (found.exit_code, found.may_retry) == (exit_code, may_retry)
    assert str(found) == str(error)


def test_a_defect_is_no_failure_of_ours() -> None:
    assert as_cippus_error(KeyError("a defect")) is None


@pytest.mark.parametrize("said", [" index out of bounds ", ""])
def test_a_panic_of_a_library_is_a_failure_that_another_attempt_meets_again(said: str) -> None:
    found = as_cippus_error(type("PanicException", (BaseException,), {})(said))
    assert type(found) is PermanentFailure
    assert str(found) == f"A library failed: {said.strip() or 'it says no more'}"


def test_an_error_without_a_message_is_still_a_sentence() -> None:
    assert str(as_cippus_error(OSError())).endswith("without a message.")


@pytest.mark.parametrize(
    ("error", "of_data"),
    [
        (pyarrow.ArrowInvalid("Parquet magic bytes not found in footer"), True),
        (polars.exceptions.ComputeError("parquet: File out of specification"), True),
        (polars.exceptions.ComputeError("Generic S3 error: <Error><Code>SlowDown</Code></Error>"), False),
        (polars.exceptions.ComputeError("Generic S3 error: <Error><Code>AccessDenied</Code></Error>"), False),
        (obstore.exceptions.GenericError("Generic S3 error: error sending request"), False),
        (CommitFailedError("another commit was first"), False),
        (PermanentFailure("p"), False),
        (of_s3("AccessDenied"), False),
        (NoCredentialsError(), False),
        (FileNotFoundError("part-1.parquet"), False),
        (MemoryError(), False),
    ],
    ids=lambda value: f"{type(value).__name__}-{value}"[:60] if isinstance(value, Exception) else "",
)
def test_data_is_at_fault_only_where_no_service_is(error: Exception, of_data: bool) -> None:
    assert is_of_data(error) is of_data


@pytest.mark.parametrize(
    ("sqlstate", "kind", "advice"),
    [
        ("28P01", SourcePermissionError, "refuses its role"),
        ("28000", SourcePermissionError, "refuses its role"),
        ("42501", SourcePermissionError, "refuses its role"),
        ("42P01", SourceQueryError, "refuses a statement"),
        ("42703", SourceUnavailableError, "columns of the source changed"),
        ("55P03", SourceUnavailableError, "locked the table"),
        ("57014", SourceTimeoutError, "raise CIPPUS_STATEMENT_TIMEOUT_SECONDS"),
        ("08006", SourceUnavailableError, "cannot be reached"),
        ("57P01", SourceUnavailableError, "cannot be reached"),
        ("57P03", SourceUnavailableError, "cannot be reached"),
        ("40001", SourceUnavailableError, "cannot be reached"),
        ("53300", SourceUnavailableError, "cannot be reached"),
        (None, SourceUnavailableError, "cannot be reached"),
    ],
)
def test_a_sqlstate_is_of_a_kind_whichever_client_met_it(sqlstate: str | None, kind: type, advice: str) -> None:
    of_psycopg = psycopg.OperationalError if sqlstate is None else psycopg.errors.lookup(sqlstate)
    of_adbc = adbc_driver_manager.OperationalError(
        "said", status_code=adbc_driver_manager.AdbcStatusCode.IO, sqlstate=sqlstate
    )
    for error in (of_psycopg("said"), of_adbc):
        found = refused(error)
        assert type(found) is kind
        assert advice in str(found)
        assert "said" in str(found)
        assert "\n" not in str(found)


# What an embedded server does not say by itself: with other pg_hba.conf, certificates, states of a server.
@pytest.mark.parametrize(("said", "kind"), [
    ('FATAL:  no pg_hba.conf entry for host "10.0.0.1", user "r", database "d", no encryption', SourcePermissionError),
    ('FATAL:  pg_hba.conf rejects connection for host "10.0.0.1", user "r", database "d"', SourcePermissionError),
    ('FATAL:  role "r" does not exist', SourcePermissionError),
    ('FATAL:  PAM authentication failed for user "r"', SourcePermissionError),
    ('FATAL:  cannot connect to invalid database "d"', SourcePermissionError),
    ("FATAL:  connection requires a valid client certificate", SourcePermissionError),
    ("SSL error: certificate verify failed", SourcePermissionError),
    ('root certificate file "/nowhere" does not exist', SourcePermissionError),
    ('server certificate for "a" does not match host name "b"', SourcePermissionError),
    ("FATAL:  the database system is starting up", SourceUnavailableError),
    ("FATAL:  the database system is in recovery mode", SourceUnavailableError),
    ("FATAL:  sorry, too many clients already", SourceUnavailableError),
    ("FATAL:  remaining connection slots are reserved for roles with the SUPERUSER attribute", SourceUnavailableError),
    ("server closed the connection unexpectedly", SourceUnavailableError),
    ("Connection refused", SourceUnavailableError),
])  # fmt: skip
def test_a_login_without_a_sqlstate_is_sorted_by_what_is_said(said: str, kind: type) -> None:
    text = f'connection failed: connection to server at "db", port 5432 failed: {said}\n'
    io = adbc_driver_manager.AdbcStatusCode.IO
    for error in (psycopg.OperationalError(text), adbc_driver_manager.OperationalError(text, status_code=io)):
        found = refused(error)
        assert type(found) is kind
        assert said in str(found)
        assert "\n" not in str(found)


@pytest.mark.parametrize(
    ("error", "times"),
    [
        (PermanentFailure("Grant it the right."), 1),
        (KeyError("a defect"), 1),
        (TransientFailure("The server restarts."), 4),
        (of_s3("SlowDown"), 4),
        (of_s3("AccessDenied"), 1),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, Exception) else "",
)
def test_a_permanent_failure_runs_once_and_a_transient_one_as_the_policy_says(error: Exception, times: int) -> None:
    ran = 0

    @asset(key=["raw", "failing"], retry_policy=RetryPolicy(max_retries=3))
    def failing(context: AssetExecutionContext) -> RunMetrics:
        nonlocal ran
        ran += 1
        raise error

    with warnings.catch_warnings():
        result = materialize([failing], raise_on_error=False)
    assert not result.success
    assert ran == times
    [failed] = result.get_step_failure_events()
    said = str(failed.step_failure_data.error)
    assert str(error).strip("'") in said


def test_a_transient_failure_that_passes_leaves_one_materialization() -> None:
    ran = 0

    @asset(key=["raw", "failing"], retry_policy=RetryPolicy(max_retries=3))
    def failing(context: AssetExecutionContext) -> RunMetrics:
        nonlocal ran
        ran += 1
        if ran < 3:
            raise TransientFailure("The server restarts.")
        return RunMetrics(notes={"ran": ran})

    result = materialize([failing])
    [made] = result.asset_materializations_for_node("raw__failing")
    assert made.metadata["ran"].value == 3
