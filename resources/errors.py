"""Kinds of failure as types: a permanent one stops at once and says what to do, a transient one may be tried again.

PermanentFailure   a right, a setting, a table or a file is missing or wrong: trying again cannot help
TransientFailure   a connection, a server or another run was in the way: trying again may help
"""

import re

from botocore.exceptions import (
    BotoCoreError,
    ClientError,
    HTTPClientError,
    IncompleteReadError,
)
from botocore.exceptions import (
    ConnectionError as BotocoreConnectionError,
)
from deltalake.exceptions import CommitFailedError
from obstore.exceptions import GenericError


class PermanentFailure(RuntimeError):  # noqa: N818 -- a kind of failure, not one error
    """Trying again cannot help; the message says what is wrong and what to do."""


class TransientFailure(RuntimeError):  # noqa: N818
    """Trying again may help; the message says what was in the way."""


TRANSIENT_SQLSTATES = frozenset(
    {
        "08",  # the connection was lost, or not made
        "25P03",  # this process kept a transaction idle for too long
        "53",  # out of memory, disk or connections: somebody else may give some back
        "57P01",  # the session was ended: a restart, a failover
        "57P02",  # another session crashed
        "57P03",  # the server is starting or stopping
        "57P05",  # the session idled for too long
        "40",  # a conflict with another transaction, or with a replica's recovery
        "55P03",  # a lock was not to be had in time
        "58",  # the server's own disk
        "XX",  # the server's own fault
    }
)
"""Classes (two characters) and single codes of SQLSTATE that another attempt may not meet. All others are permanent."""

TRANSIENT_S3_CODES = frozenset(
    {
        *("SlowDown", "ServiceUnavailable", "InternalError", "RequestTimeout", "RequestTimeTooSkewed", "Throttling"),
        *("ThrottlingException", "TooManyRequestsException", "OperationAborted", "ConditionalRequestConflict"),
        *("BadDigest", "IncompleteBody", "WriteInDoubt", "ExpiredToken", "ExpiredTokenException", "500", "502", "503"),
    }
)
"""Codes of AWS that another attempt may not meet; an expired token is renewed by then. All others are permanent."""


_S3_CODE = re.compile(r"<Code>(\w+)</Code>")


def is_transient_sqlstate(sqlstate: str | None) -> bool:
    """Whether trying again may help. An error without a SQLSTATE never reached the server, or lost it."""
    return not sqlstate or sqlstate in TRANSIENT_SQLSTATES or sqlstate[:2] in TRANSIENT_SQLSTATES


def is_transient(error: BaseException) -> bool:
    """Whether an error, ours or a client's, is one that another attempt may not meet.

    What no table knows is taken for a defect, which is not tried again.
    """
    if isinstance(error, TransientFailure | PermanentFailure):
        return isinstance(error, TransientFailure)
    if isinstance(error, ClientError):
        return str(error.response.get("Error", {}).get("Code", "")) in TRANSIENT_S3_CODES
    if isinstance(error, BotoCoreError):
        return isinstance(error, BotocoreConnectionError | HTTPClientError | IncompleteReadError)
    if isinstance(error, CommitFailedError | ConnectionError | TimeoutError):
        return True
    if isinstance(error, GenericError):  # obstore's, of a connection that was lost or not made, or an answer of S3's
        said = _S3_CODE.search(str(error))
        return said is None or said[1] in TRANSIENT_S3_CODES
    # delta-rs, polars and pyarrow have no type for what S3 answered: its code is in their message, or nothing answered.
    said = _S3_CODE.search(str(error))
    if said:
        return said[1] in TRANSIENT_S3_CODES
    return isinstance(error, OSError) and not isinstance(error, FileNotFoundError | PermissionError)
