"""Sort errors of psycopg and ADBC into kinds of failure, each with a message of one sentence."""

import re
from collections.abc import Iterable, Iterator

import adbc_driver_manager
import psycopg
import pyarrow as pa

from resources.errors import InputError, PermanentFailure, TransientFailure, is_transient_sqlstate

_ENDED, _DENIED, _LOCKED, _NO_COLUMN, _LOGIN_CLASS = "57014", "42501", "55P03", "42703", "28"
_DRIVER = re.compile(r"^[A-Z_]+: (?:.*?\bERROR:  )?")
"""What ADBC puts before the server's own words: its status and the call of libpq."""
_REFUSED_LOGIN = re.compile(
    r"authentication failed for user|pg_hba\.conf|role .* (does not exist|is not permitted to log in)"
    r"|database .* (does not exist|is not currently accepting connections)|cannot connect to invalid database"
    r"|permission denied for database|no password supplied|empty password returned|valid client certificate"
    r"|but SSL was required|certificate verify failed|certificate .* does not (exist|match host name)"
)
"""Text of a login failure that a retry would meet again.

The text decides because neither client passes on the SQLSTATE of a failed connection. With a server in another language
than English such a failure counts as transient, like every other error without a SQLSTATE.
"""


class SourceUnavailableError(TransientFailure):
    """The source database cannot be reached, or ended the session; a retry may succeed."""


class SourceAddressError(InputError):
    """The address of the source database cannot be parsed; the message quotes no part of it."""


class SourcePermissionError(PermanentFailure):
    """The role may not log in, or lacks a privilege that extraction needs."""


class SourceTimeoutError(PermanentFailure):
    """A statement exceeded the statement timeout; a retry would too."""


class SourceQueryError(PermanentFailure):
    """The source database rejects a statement; it would reject a retry too."""


class UnknownMarkError(PermanentFailure):
    """The server does not show the transactions that the safe high-water mark depends on."""


class PreparedTransactionError(TransientFailure):
    """A prepared transaction blocks the safe high-water mark; most end by themselves soon."""


def refused(error: psycopg.Error | adbc_driver_manager.Error) -> PermanentFailure | TransientFailure:
    """Return the failure that stands for a client's error."""
    code = error.sqlstate or ""
    lines = [line for line in str(error).splitlines() if line.strip()] or [type(error).__name__]
    # libpq prints a line per host. A refused login on one host is permanent, whatever the other hosts answer.
    refusal = next((line for line in lines if _REFUSED_LOGIN.search(line)), None) if not code else None
    said = _DRIVER.sub("", refusal or lines[0])
    if refusal or code.startswith(_LOGIN_CLASS):
        return SourcePermissionError(
            f"The source database refuses its role: {said}; correct role, password, database and sslmode in "
            "CIPPUS_POSTGRES_DSN or its secret, or let the role in (LOGIN, CONNECT, pg_hba.conf)."
        )
    if code == _DENIED and "row-level security" in said:
        return SourcePermissionError(
            f"The source database refuses its role: {said}; a policy would hide rows, which would look deleted: ALTER "
            "ROLE … BYPASSRLS."
        )
    if code == _DENIED:
        return SourcePermissionError(
            f"The source database refuses its role: {said}; GRANT SELECT on the table, or on every declared column."
        )
    if code == _ENDED and "user request" in said:
        return SourceUnavailableError(f"Somebody ended a statement in the source database: {said}")
    if code == _ENDED:
        return SourceTimeoutError(
            f"The source database ended a statement: {said}; raise CIPPUS_STATEMENT_TIMEOUT_SECONDS, or find out why "
            "the statement is slow (no index on updated_at?)."
        )
    if code == _LOCKED:
        return SourceUnavailableError(
            f"Another session of the source database has locked the table: {said}; wait for it to end, or see "
            "pg_locks for the session that holds it."
        )
    if code == _NO_COLUMN:  # the columns were listed a moment ago
        return SourceUnavailableError(f"The columns of the source changed while they were read: {said}")
    if is_transient_sqlstate(code):
        return SourceUnavailableError(f"The source database cannot be reached: {said}")
    return SourceQueryError(f"The source database refuses a statement ({code}): {said}")


def translated(batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
    """Yield batches, and raise a client's error in the middle of them as the failure that it is."""
    try:
        yield from batches
    except adbc_driver_manager.Error as error:
        raise refused(error) from None
    except (pa.ArrowException, OSError) as error:  # raised by Arrow itself, without an ADBC error
        raise SourceUnavailableError(f"The source database ended the stream: {str(error).splitlines()[0]}") from None
