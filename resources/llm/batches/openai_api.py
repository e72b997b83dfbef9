"""The batch API of OpenAI, and Together's, which differs in a few words."""

import datetime as dt
import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

import httpx2
import openai

from resources.llm.batches.provider import NAME, Limits, RemoteBatch
from resources.llm.completions import CallFailedError
from resources.llm.endpoint import Billing, Endpoint, TransientEndpointError
from resources.spend.prices import Usage

JOB = "cippus_job"
_PAGE, _ABSENT = 100, 404
_MARGIN = dt.timedelta(hours=1)
"""A provider's clock and ours may differ by so much."""
T = TypeVar("T")


@dataclass(frozen=True)
class Dialect:
    """How a provider's API differs. ``metadata``: whether a batch keeps our name for it."""

    limits: Limits = field(default_factory=Limits)
    upload: str = "/files"
    purpose: str = "batch"
    metadata: bool = True


TOGETHER = Dialect(Limits(50_000, 100 << 20), "/files/upload", "batch-api", metadata=False)
DIALECTS: Mapping[str, Dialect] = {"together": TOGETHER}
"""Provider → its dialect; every other provider is asked as OpenAI is."""


class OpenAiBatches:
    """Batches of one model at one endpoint."""

    def __init__(self, endpoint: Endpoint, dialect: Dialect | None = None) -> None:
        self._endpoint, self._dialect = endpoint, dialect or Dialect()
        self._client = endpoint.client(2)
        self.limits = self._dialect.limits

    def close(self) -> None:
        """Close the connections."""
        self._client.close()

    def upload(self, path: Path, job: str) -> str:
        """Upload the requests of a job. Return the file's id."""

        def send() -> str:
            with path.open("rb") as body:
                name = f"{NAME}{job}.jsonl"
                answer = self._client.post(
                    self._dialect.upload,
                    cast_to=httpx2.Response,
                    body={"purpose": self._dialect.purpose, "file_name": name},
                    files={"file": (name, body)},
                    options={"headers": {"Content-Type": "multipart/form-data"}},
                )
            return str(_json(answer)["id"])

        return self._tried("files", send)

    def create(self, file_id: str, job: str) -> RemoteBatch:
        """Start a batch, by one request that is never repeated."""
        body: dict[str, Any] = {
            "input_file_id": file_id,
            "endpoint": "/v1/chat/completions",
            "completion_window": "24h",
        }
        if self._dialect.metadata:
            body["metadata"] = {JOB: job}
        return self._tried("batches", lambda: _batch(_json(self._post("/batches", body))))

    def batches(self, since: dt.datetime) -> Iterator[RemoteBatch]:
        """Yield the account's batches that were made since then, also those of others. Newest first."""
        after: str | None = None
        while True:
            params = {"limit": _PAGE, **({"after": after} if after else {})}
            page = self._tried("batches", partial(self._page, "/batches", params))
            rows = page if isinstance(page, list) else page.get("data") or []
            found = [batch for row in rows if (batch := _readable(row)) is not None]
            yield from found
            times = [batch.created_at for batch in found if batch.created_at]
            if isinstance(page, list) or not page.get("has_more") or not found:
                return
            if times and min(times) < since - _MARGIN:
                return
            after = found[-1].id

    def batch(self, batch_id: str) -> RemoteBatch:
        """Return a batch as it is now."""
        return self._tried("batches", lambda: _batch(_json(self._get(f"/batches/{batch_id}"))))

    def cancel(self, batch_id: str) -> None:
        """Ask for a batch to end. What was answered until it ends is billed."""
        self._tried("batches", lambda: self._post(f"/batches/{batch_id}/cancel", {}))

    def download(self, file_id: str, path: Path) -> None:
        """Write a file of answers or errors to a path. A file that came in part is an error."""

        def receive() -> None:
            with self._client.files.with_streaming_response.content(file_id) as answer, path.open("wb") as out:
                for part in answer.iter_bytes(1 << 20):
                    out.write(part)
                length = answer.headers.get("content-length", "")
            if length.isdigit() and "content-encoding" not in answer.headers and path.stat().st_size != int(length):
                raise ValueError(f"{path.stat().st_size} of {length} bytes of the file {file_id} came")

        self._tried("files", receive)

    def files_of(self, job: str) -> list[str]:
        """Return the ids of the files that were uploaded for a job."""
        page = self._tried("files", partial(self._page, "/files", {"limit": 10_000}))
        rows = page if isinstance(page, list) else page.get("data") or []
        return [str(row["id"]) for row in rows if str(row.get("filename", "")).startswith(f"{NAME}{job}")]

    def delete(self, file_id: str) -> None:
        """Delete a file. A file that is gone is no error."""
        try:
            self._client.delete(f"/files/{file_id}", cast_to=httpx2.Response)
        except openai.APIStatusError as error:
            if error.status_code != _ABSENT:
                raise CallFailedError(*self._endpoint.failure("files", error)) from None
        except openai.OpenAIError as error:
            raise CallFailedError(*self._endpoint.failure("files", error)) from None

    def _page(self, path: str, params: Mapping[str, Any]) -> Any:
        return _json(self._get(path, params))

    def _get(self, path: str, params: Mapping[str, Any] | None = None) -> httpx2.Response:
        return self._client.get(path, cast_to=httpx2.Response, options={"params": params or {}})

    def _post(self, path: str, body: Mapping[str, Any]) -> httpx2.Response:
        return self._client.post(path, cast_to=httpx2.Response, body=body)

    def _tried(self, path: str, call: Callable[[], T]) -> T:
        try:
            return call()
        except openai.OpenAIError as error:
            raise CallFailedError(*self._endpoint.failure(path, error)) from None
        except (ValueError, KeyError, TypeError, AttributeError, httpx2.HTTPError) as error:
            message = f"{self._endpoint.base}/{path} answered something else than expected: {error}."
            raise CallFailedError(TransientEndpointError(message), Billing.UNKNOWN) from None


def _json(answer: httpx2.Response) -> Any:
    found = json.loads(answer.content)
    return found["job"] if isinstance(found, dict) and isinstance(found.get("job"), dict) else found


def _readable(row: Any) -> RemoteBatch | None:
    """Return a batch of a list; None for a line of others that is of another form."""
    try:
        return _batch(row)
    except (KeyError, TypeError, ValueError, AttributeError):
        return None


def _batch(found: Mapping[str, Any]) -> RemoteBatch:
    counts, usage, errors = found.get("request_counts") or {}, found.get("usage") or {}, found.get("errors") or {}
    files = tuple(str(found[name]) for name in ("output_file_id", "error_file_id") if found.get(name))
    batch = RemoteBatch(
        str(found["id"]),
        str(found["status"]).lower(),
        str(found.get("input_file_id") or ""),
        files,
        str((found.get("metadata") or {}).get(JOB, "")),
        _time(found.get("created_at")),
        errors="; ".join(str(each.get("message", "")) for each in errors.get("data") or [])[:500],
    )
    if isinstance(counts.get("completed"), int):
        batch = replace(batch, completed=counts["completed"])
    if isinstance(usage.get("input_tokens"), int) and isinstance(usage.get("output_tokens"), int):
        batch = replace(batch, usage=Usage(usage["input_tokens"], usage["output_tokens"]))
    return batch


def _time(value: Any) -> dt.datetime | None:
    if isinstance(value, int | float):
        return dt.datetime.fromtimestamp(value, dt.UTC)
    return dt.datetime.fromisoformat(value) if isinstance(value, str) and value else None
