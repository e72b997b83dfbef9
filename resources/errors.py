"""The exceptions of Cippus, and whether an error, ours or a library's, may be retried.

CippusError
├── PermanentFailure    another attempt cannot help: a right, a table or a file is missing or wrong
│   └── InputError      an argument or a setting cannot be used; nothing was written
└── TransientFailure    another attempt may help: a connection, a server or another run was in the way

Every other exception of this project derives from these; only `assets.transforms`, which is pure, has its own. The
`cippus` command exits with `exit_code`. A step of a run is repeated when `may_retry` is true.
"""

import re
from typing import ClassVar

from resources.plain_text import plain_lines

TRANSIENT_SQLSTATES = frozenset(
    {
        "08",  # connection lost, or not made
        "25P03",  # idle for too long in a transaction
        "53",  # out of memory, disk or connections
        "57P01",  # the session was ended: a restart, a failover
        "57P02",  # another session crashed
        "57P03",  # the server is starting or stopping
        "57P05",  # the session was idle for too long
        "40",  # conflict with another transaction, or with a replica's recovery
        "55P03",  # lock not available in time
        "58",  # system error of the server, such as its disk
        "XX",  # internal error of the server
    }
)
"""SQLSTATE classes (two characters) and codes that may be retried. All others are permanent."""

TRANSIENT_S3_CODES = frozenset(
    {
        *("SlowDown", "ServiceUnavailable", "InternalError", "RequestTimeout", "RequestTimeTooSkewed", "Throttling"),
        *("ThrottlingException", "TooManyRequestsException", "OperationAborted", "ConditionalRequestConflict"),
        *("BadDigest", "IncompleteBody", "WriteInDoubt", "ExpiredToken", "ExpiredTokenException", "500", "502", "503"),
    }
)
"""AWS error codes that may be retried; clients renew an expired token. All others are permanent."""

_S3_CODE = re.compile(r"<Code>(\w+)</Code>")


class CippusError(Exception):
    """Base class. The message says what happened, the value, and how to fix it."""

    exit_code: ClassVar[int] = 1
    may_retry: ClassVar[bool] = False

    def __str__(self) -> str:
        """Return the message without control characters: values in it may come from data."""
        return plain_lines(super().__str__())


class PermanentFailure(CippusError):  # noqa: N818 -- a kind of failure, not one error
    """Another attempt cannot help."""


class InputError(PermanentFailure):
    """An argument or a setting cannot be used, or the command is refused in this state."""

    exit_code = 2


class TransientFailure(CippusError):  # noqa: N818
    """Another attempt may help."""

    may_retry = True


def is_transient_sqlstate(sqlstate: str | None) -> bool:
    """Return whether a database error may be retried. Without a SQLSTATE, the server was not reached or was lost."""
    return not sqlstate or sqlstate in TRANSIENT_SQLSTATES or sqlstate[:2] in TRANSIENT_SQLSTATES


def is_transient(error: BaseException) -> bool:
    """Return whether another attempt may succeed. An unknown kind of error is a defect, and is not retried."""
    if isinstance(error, CippusError):
        return error.may_retry
    # Imported here: `cippus --help` needs none of these libraries, and they take a second to import.
    from botocore.exceptions import BotoCoreError, ClientError, HTTPClientError, IncompleteReadError
    from botocore.exceptions import ConnectionError as BotocoreConnectionError
    from deltalake.exceptions import CommitFailedError
    from obstore.exceptions import GenericError

    if isinstance(error, ClientError):
        return str(error.response.get("Error", {}).get("Code", "")) in TRANSIENT_S3_CODES
    if isinstance(error, BotoCoreError):
        return isinstance(error, BotocoreConnectionError | HTTPClientError | IncompleteReadError)
    if isinstance(error, CommitFailedError | ConnectionError | TimeoutError):
        return True
    # delta-rs, obstore, polars and pyarrow have no type for an answer of S3: the code is in the message.
    code = _S3_CODE.search(str(error))
    if code is not None:
        return code[1] in TRANSIENT_S3_CODES
    return isinstance(error, GenericError | OSError) and not isinstance(error, FileNotFoundError | PermissionError)


def is_of_data(error: BaseException) -> bool:
    """Return whether a library refuses the data itself: the error is not ours, S3's or the operating system's."""
    from botocore.exceptions import BotoCoreError, ClientError

    if isinstance(error, CippusError | BotoCoreError | ClientError | OSError | MemoryError):
        return False
    return _S3_CODE.search(str(error)) is None and not is_transient(error)


def as_cippus_error(error: BaseException) -> CippusError | None:
    """Return the failure to show for an error of a service, a library of data or the system, None for a defect."""
    if isinstance(error, CippusError):
        return error
    if type(error).__name__ == "PanicException":  # of Rust, a class of its own in each library
        return PermanentFailure(f"A library failed: {str(error).strip() or 'it says no more'}")
    from botocore.exceptions import BotoCoreError, ClientError
    from deltalake.exceptions import DeltaError
    from obstore.exceptions import BaseError as ObjectStoreError
    from polars.exceptions import PolarsError
    from psycopg import Error as PostgresError
    from pyarrow import ArrowException

    of_services = BotoCoreError | ClientError | DeltaError | PostgresError | OSError
    if not isinstance(error, of_services | ObjectStoreError | PolarsError | ArrowException):
        return None
    may_retry = is_transient_sqlstate(error.sqlstate) if isinstance(error, PostgresError) else is_transient(error)
    kind = TransientFailure if may_retry else PermanentFailure
    return kind(str(error).strip() or "The operating system or S3 reported an error without a message.")
