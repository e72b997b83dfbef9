"""Errors of the source database, from psycopg and from ADBC, as kinds of failure with one sentence."""

import re
from collections.abc import Iterable, Iterator

import adbc_driver_manager
import psycopg
import pyarrow as pa

from resources.errors import InputError, PermanentFailure, TransientFailure, is_transient_sqlstate

_TIMED_OUT = "57014"
_DENIED = frozenset({"42501"})
_LOGIN = "28"
_REFUSED_LOGIN = re.compile(
    r"authentication failed for user|pg_hba\.conf|role .* (does not exist|is not permitted to log in)"
    r"|database .* (does not exist|is not currently accepting connections)|cannot connect to invalid database"
    r"|permission denied for database|no password supplied|empty password returned|valid client certificate"
    r"|but SSL was required|certificate verify failed|certificate .* does not (exist|match host name)"
)
"""What Postgres and libpq say of a login that would be refused again.

Known by its text, because neither client hands on the SQLSTATE of a connection that was not made. From a server that
speaks another language than English such a failure stays transient, as all others without a SQLSTATE.
"""


class SourceUnavailableError(TransientFailure):
    """The source database cannot be reached, or ended the session; a later attempt may succeed."""


class SourceAddressError(InputError):
    """What should be the source database's address is none; the message quotes nothing of it."""


class SourcePermissionError(PermanentFailure):
    """The role may not log in, or lacks a right that extraction needs; trying again cannot help."""


class SourceTimeoutError(PermanentFailure):
    """A statement took longer than it may; it would again."""


class SourceQueryError(PermanentFailure):
    """The source database refuses a statement; it would again."""


class UnknownMarkError(PermanentFailure):
    """The server does not show what the safe high-water mark depends on; the message says what to do."""


class PreparedTransactionError(TransientFailure):
    """A prepared transaction stands in the way of the safe high-water mark; most end by themselves soon."""


def refused(error: psycopg.Error | adbc_driver_manager.Error) -> PermanentFailure | TransientFailure:
    """The failure that an error of a client is."""
    code = error.sqlstate
    lines = [line for line in str(error).splitlines() if line.strip()] or [type(error).__name__]
    # Of several hosts each has its line: one that is wrongly addressed is so whatever the others say.
    refusal = next((line for line in lines if _REFUSED_LOGIN.search(line)), None) if code is None else None
    said = refusal or lines[0]
    if refusal or (code is not None and code.startswith(_LOGIN)):
        return SourcePermissionError(
            f"The source database refuses its role: {said}; correct role, password, database and sslmode in "
            "CIPPUS_POSTGRES_DSN or its secret, or let the role in (LOGIN, CONNECT, pg_hba.conf)."
        )
    if code in _DENIED:
        return SourcePermissionError(f"The source database refuses its role: {said}")
    if code == _TIMED_OUT:
        return SourceTimeoutError(
            f"The source database ended a statement: {said}; raise CIPPUS_STATEMENT_TIMEOUT_SECONDS, or see why it is "
            "slow (an index on updated_at?)."
        )
    if is_transient_sqlstate(code):
        return SourceUnavailableError(f"The source database cannot be reached: {said}")
    return SourceQueryError(f"The source database refuses a statement ({code}): {said}")


def translated(batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
    """The batches, and in place of a client's error in the middle of them the failure that it is."""
    try:
        yield from batches
    except adbc_driver_manager.Error as error:
        raise refused(error) from None
    except (pa.ArrowException, OSError) as error:  # of Arrow itself: ADBC has nothing to say of it
        message = f"The source database ended the stream: {str(error).splitlines()[0]}"
        raise SourceUnavailableError(message) from None
