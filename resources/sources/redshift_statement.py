"""Run one statement through Redshift's Data API, exactly once, and sort its failures."""

import time
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any
from uuid import uuid4

from botocore.exceptions import BotoCoreError, ClientError

from resources.errors import PermanentFailure, TransientFailure, is_transient

_FINISHED, _FAILED, _ABORTED = "FINISHED", "FAILED", "ABORTED"
_SLOWEST_POLL_SECONDS = 10.0
_BACK_OFF = 1.5
_BUSY = ("ActiveStatementsExceededException", "ActiveSessionsExceededException", "InternalServerException")
_NOW = "SELECT extract(epoch FROM getdate()::timestamptz)::varchar(32)"
"""getdate() is in the session's time zone, and the cast reads it so."""
_PASSING = (
    *("slowdown", "serializable isolation", "could not connect", "disk full", "internal error", "status 503"),
    "unload destination on s3 is not empty",
)
"""Lower-case text of a failed statement that a retry may not meet.

Each attempt has its own destination. Files in it come from the same attempt, under a token that Redshift has forgotten.
"""


class RedshiftUnavailableError(TransientFailure):
    """The warehouse or its API did not serve a statement; a retry may succeed."""


class RedshiftRefusedError(PermanentFailure):
    """The warehouse or its API refuses a statement: a privilege, a name or a setting is wrong."""


class DataApiUnavailableError(RedshiftUnavailableError):
    """The API did not answer a call; the state of the statement is not known yet."""


class DataApiRefusedError(RedshiftRefusedError):
    """The API refuses a call; the state of the statement is not known."""


@dataclass(frozen=True)
class DataApi:
    """The Data API for one database. ``target`` holds the parameters for warehouse, database and login."""

    client: Any
    target: dict[str, str]
    deadline_seconds: float
    poll_seconds: float

    def run(self, sql: str, token: str) -> str:
        """Run a statement to its end, and return its id. Repeated calls with the same token run it once.

        Raise RedshiftRefusedError, or RedshiftUnavailableError, also after the deadline, when the statement is
        cancelled. A failed API call raises a DataApi error; a retry with the same token finds the statement again.
        """
        until = time.monotonic() + self.deadline_seconds
        statement = self._call("execute_statement", **self.target, Sql=sql, ClientToken=token)["Id"]
        pause = self.poll_seconds
        while (found := self._call("describe_statement", Id=statement))["Status"] != _FINISHED:
            if found["Status"] in {_FAILED, _ABORTED}:
                raise _failure(found)
            if time.monotonic() + pause > until:
                self._call("cancel_statement", Id=statement)
                raise RedshiftUnavailableError(
                    f"Redshift did not finish a statement in {self.deadline_seconds:.0f} s; it was cancelled."
                )
            time.sleep(pause)
            pause = min(pause * _BACK_OFF, _SLOWEST_POLL_SECONDS)
        return str(statement)

    def now(self) -> datetime:
        """Return the warehouse's time, which this host's clock may not agree with."""
        statement = self.run(_NOW, uuid4().hex)
        records = self._call("get_statement_result", Id=statement).get("Records", [])
        try:
            [[value]] = records
            return datetime.fromtimestamp(float(value["stringValue"]), UTC)
        except (ValueError, KeyError, TypeError, OverflowError, OSError):
            raise RedshiftRefusedError(f"Redshift answered {str(records)[:100]} where its time was expected.") from None

    def columns(self, schema: str, table: str) -> dict[str, str]:
        """Return column → Redshift type, in the table's order; empty if the table does not exist."""
        found: dict[str, str] = {}
        more: dict[str, str] = {}
        while True:
            page = self._call("describe_table", **self.target, Schema=schema, Table=table, **more)
            found |= {column["name"]: column["typeName"] for column in page.get("ColumnList", [])}
            if not page.get("NextToken"):
                return found
            more = {"NextToken": page["NextToken"]}

    def _call(self, operation: str, **parameters: Any) -> dict[str, Any]:
        try:
            answer: dict[str, Any] = getattr(self.client, operation)(**parameters)
        except ClientError as error:
            text = f"Redshift's Data API answered {operation} with {error.response['Error']['Code']}: {_message(error)}"
            passing = is_transient(error) or error.response["Error"]["Code"] in _BUSY
            raise (DataApiUnavailableError if passing else DataApiRefusedError)(text) from None
        except BotoCoreError as error:
            failure = DataApiUnavailableError if is_transient(error) else DataApiRefusedError
            raise failure(f"Redshift's Data API could not be called: {error}") from None
        return answer


def _message(error: ClientError) -> str:
    """Return the API's message, which is in one of two fields, as one line."""
    text = error.response["Error"].get("Message") or error.response.get("Message") or "no message"
    return " ".join(str(text).split())


def _failure(found: dict[str, Any]) -> RedshiftUnavailableError | RedshiftRefusedError:
    text = " ".join(str(found.get("Error") or "without a message").split())
    if found["Status"] == _ABORTED:
        return RedshiftUnavailableError(f"A statement on Redshift was stopped from outside: {text}")
    if any(sign in text.lower() for sign in _PASSING):
        return RedshiftUnavailableError(f"A statement on Redshift failed: {text}")
    return RedshiftRefusedError(f"A statement on Redshift failed: {text}")
