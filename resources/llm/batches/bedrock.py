"""Amazon Bedrock's batch inference behind the interface of a batch API: files on the lake's S3, jobs by boto3.

Requests go out and answers come back in the form of the Converse API, which is the same for every model. In this
module's files they are translated, so that the lane knows chat completions alone. Every folder of a job begins with
NAME and the job's name, and is deleted with the job's requests.
"""

import datetime as dt
import json
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError, ConnectTimeoutError, EndpointConnectionError
from botocore.parsers import ResponseParserError

from resources.errors import InputError
from resources.llm.batches.provider import NAME, Limits, RemoteBatch
from resources.llm.completions import CallFailedError
from resources.llm.endpoint import TRANSIENT, Billing, PermanentEndpointError, TransientEndpointError
from resources.spend.prices import Usage
from resources.spend.store import Store

if TYPE_CHECKING:
    from mypy_boto3_bedrock import BedrockClient

PROVIDER = "aws"
FOLDER = "llm/bedrock"
_LEAST, _MOST, _BYTES = 100, 50_000, 64 << 20
"""Bedrock refuses smaller batches. A file is held in memory, so it is kept below Bedrock's limit of 1 GB."""
_INPUT, _OUTPUT, _MANIFEST = "input.jsonl", "input.jsonl.out", "manifest.json.out"
_MARGIN = dt.timedelta(hours=1)
_STATES = {
    "Completed": "completed",
    "PartiallyCompleted": "expired",
    "Failed": "failed",
    "Stopped": "cancelled",
    "Expired": "expired",
}
_REASONS = {"end_turn": "stop", "stop_sequence": "stop", "max_tokens": "length"}
_NOT_BILLED = frozenset((400, 401, 403, 404, 409, 429))
_NOT_SENT = (ConnectTimeoutError, EndpointConnectionError)
_FAILURES = (ClientError, BotoCoreError, ResponseParserError, KeyError)
"""botocore reads an answer that is not Bedrock's as one without any field."""


class BedrockSettingError(InputError):
    """Batches of Bedrock need an address with a region, and a role."""


def client(url: str) -> "BedrockClient":
    """Return a client of the region in an endpoint's address. It retries nothing: a batch is created once.

    ``url``: https://bedrock-runtime.REGION.amazonaws.com…, where single calls go. An address of another host is that
    of the service itself, such as a VPC endpoint's. Raises BedrockSettingError.
    """
    import boto3

    parts = (urlsplit(url).hostname or "").split(".")
    is_public = parts[0] in ("bedrock", "bedrock-runtime") and "amazonaws" in parts
    session = boto3.Session()
    region = parts[1] if is_public else session.region_name
    if not region:
        raise BedrockSettingError(
            f"Batches of Bedrock need a region: CIPPUS_LLM_URL is {url!r}, expected "
            "https://bedrock-runtime.REGION.amazonaws.com/openai/v1, or set AWS_REGION."
        )
    config = Config(retries={"total_max_attempts": 1}, connect_timeout=10, read_timeout=120)
    return session.client(
        "bedrock", region_name=region, endpoint_url=None if is_public or not url else url, config=config
    )


class BedrockBatches:
    """Batches of one model. ``bucket`` is that of ``files``; ``role`` is the ARN under which Bedrock opens it."""

    def __init__(self, client: "BedrockClient", files: Store, bucket: str, model: str, role: str) -> None:
        if not role.startswith("arn:"):
            raise BedrockSettingError(
                f"Batches of Bedrock need a role: CIPPUS_LLM_BATCH_ROLE is {role!r}, expected the ARN of a role that "
                f"may read and write s3://{bucket}/{FOLDER}/."
            )
        self._client, self._files = client, files
        self._bucket, self._model, self._role = bucket, model, role
        self.limits = Limits(_MOST, _BYTES, _LEAST)

    def close(self) -> None:
        """Close the connections."""
        self._client.close()

    def upload(self, path: Path, job: str) -> str:
        """Write the requests of a job to S3. Return the key."""
        with path.open("rb") as lines:
            body = b"\n".join(json.dumps(_record(json.loads(line)), ensure_ascii=False).encode() for line in lines)
        key = f"{_folder(job)}{_INPUT}"
        with self._asked("upload"):
            self._files.put(key, body + b"\n")
        return key

    def create(self, file_id: str, job: str) -> RemoteBatch:
        """Start a batch. The job's name is the client token, so that not even a repetition would start another."""
        folder = f"s3://{self._bucket}/{_folder(job)}"
        with self._asked("model-invocation-job"):
            made = self._client.create_model_invocation_job(
                jobName=f"{NAME}{job}",
                clientRequestToken=job,
                roleArn=self._role,
                modelId=self._model,
                modelInvocationType="Converse",
                inputDataConfig={"s3InputDataConfig": {"s3Uri": f"s3://{self._bucket}/{file_id}"}},
                outputDataConfig={"s3OutputDataConfig": {"s3Uri": folder}},
                timeoutDurationInHours=24,
            )
            return RemoteBatch(made["jobArn"], "validating", file_id, job=job)

    def batches(self, since: dt.datetime) -> Iterator[RemoteBatch]:
        """Yield our batches that were made since then, newest first."""
        with self._asked("model-invocation-jobs"):
            pages = self._client.get_paginator("list_model_invocation_jobs").paginate(
                submitTimeAfter=since - _MARGIN, nameContains=NAME, sortBy="CreationTime", sortOrder="Descending"
            )
            for page in pages:
                yield from (self._batch(found) for found in page.get("invocationJobSummaries", []))

    def batch(self, batch_id: str) -> RemoteBatch:
        """Return a batch as it is now. When it has ended, its files are those in its folder."""
        with self._asked("model-invocation-job"):
            found = self._batch(self._client.get_model_invocation_job(jobIdentifier=batch_id))
            return self._with_files(found) if found.is_ended else found

    def cancel(self, batch_id: str) -> None:
        """Ask for a batch to end. What was answered until it ends is billed. One that has ended is no error."""
        with self._asked("model-invocation-job"), suppress(self._client.exceptions.ConflictException):
            self._client.stop_model_invocation_job(jobIdentifier=batch_id)

    def download(self, file_id: str, path: Path) -> None:
        """Write a file of answers to a path, each as a batch of chat completions has it."""
        with self._asked("download"):
            found = self._files.get(file_id)
        if found is None:
            message = f"s3://{self._bucket}/{file_id} is gone: the answers of a batch cannot be read."
            raise CallFailedError(TransientEndpointError(message), Billing.UNKNOWN)
        with path.open("wb") as out:
            out.writelines(_result(line) + b"\n" for line in found.body.splitlines() if line.strip())

    def files_of(self, job: str) -> list[str]:
        """Return the keys of a job's folder."""
        with self._asked("list"):
            return list(self._files.keys(_folder(job)))

    def delete(self, file_id: str) -> None:
        """Delete a file; with the requests, the job's whole folder."""
        is_input = file_id.endswith(f"/{_INPUT}")
        with self._asked("delete"):
            self._files.delete(list(self._files.keys(file_id.removesuffix(_INPUT))) if is_input else [file_id])

    def _batch(self, found: Mapping[str, Any]) -> RemoteBatch:
        file = found["inputDataConfig"]["s3InputDataConfig"]["s3Uri"].removeprefix(f"s3://{self._bucket}/")
        return RemoteBatch(
            found["jobArn"],
            _STATES.get(found["status"], "in_progress"),
            file,
            job=found["jobName"].removeprefix(NAME),
            created_at=found.get("submitTime"),
            completed=found.get("successRecordCount"),
            errors=str(found.get("message", ""))[:500],
        )

    def _with_files(self, batch: RemoteBatch) -> RemoteBatch:
        """Add the files of answers, and the tokens that the manifest says."""
        keys = list(self._files.keys(batch.input_file.removesuffix(_INPUT)))
        outputs = tuple(sorted(key for key in keys if key.endswith(f"/{_OUTPUT}")))
        usage = None
        for key in keys:
            manifest = self._files.get(key) if key.endswith(f"/{_MANIFEST}") else None
            usage = usage if manifest is None else _usage(manifest.body)
        return RemoteBatch(**{**vars(batch), "files": outputs, "usage": usage})

    @contextmanager
    def _asked(self, path: str) -> Iterator[None]:
        """Raise CallFailedError for what boto3 raises."""
        try:
            yield
        except _FAILURES as error:
            raise self._failure(path, error) from None

    def _failure(self, path: str, error: Exception) -> CallFailedError:
        """Return what to raise for an error of boto3, with whether a batch may have begun."""
        where = f"Bedrock ({path})"
        if not isinstance(error, ClientError):
            is_unsent = isinstance(error, _NOT_SENT)
            message = f"{where} did not answer as expected: {type(error).__name__} {error}."
            return CallFailedError(TransientEndpointError(message), Billing.NO if is_unsent else Billing.UNKNOWN)
        status, said = error.response["ResponseMetadata"]["HTTPStatusCode"], error.response["Error"]
        message = f"{where} answered {status} {said.get('Code')} for {self._model}: {said.get('Message', '')!r}."
        billing = Billing.NO if status in _NOT_BILLED else Billing.UNKNOWN
        kind = TransientEndpointError if status in TRANSIENT else PermanentEndpointError
        return CallFailedError(kind(message), billing)


def _folder(job: str) -> str:
    return f"{FOLDER}/{NAME}{job}/"


def _record(line: Mapping[str, Any]) -> dict[str, Any]:
    """Return a line of Bedrock for a request of a chat completion."""
    body = line["body"]
    system = [{"text": each["content"]} for each in body["messages"] if each["role"] == "system"]
    if "response_format" in body:  # few models of Bedrock take a schema as such; every model reads one
        schema = json.dumps(body["response_format"]["json_schema"]["schema"])
        system.append({"text": f"Answer with JSON of this schema alone: {schema}"})
    talk = [each for each in body["messages"] if each["role"] != "system"]
    found = {
        "messages": [{"role": each["role"], "content": [{"text": each["content"]}]} for each in talk],
        "inferenceConfig": {"maxTokens": body["max_tokens"], "temperature": body["temperature"]},
        **({"system": system} if system else {}),
    }
    return {"recordId": line["custom_id"], "modelInput": found}


def _result(line: bytes) -> bytes:
    """Return a line of a batch of chat completions for one of Bedrock. What cannot be read stays as it is."""
    try:
        found = json.loads(line)
        response = {"status_code": 200, "body": _completion(found["modelOutput"])} if "modelOutput" in found else None
        if response is None:
            response = {"status_code": int(found["error"]["errorCode"]), "body": {"error": found["error"]}}
        return json.dumps({"custom_id": found["recordId"], "response": response}, ensure_ascii=False).encode()
    except (ValueError, KeyError, TypeError, AttributeError):
        return line


def _completion(output: Mapping[str, Any]) -> dict[str, Any]:
    usage, reason = output["usage"], output.get("stopReason", "")
    cached = usage.get("cacheReadInputTokens", 0)
    text = "".join(part.get("text", "") for part in output["output"]["message"]["content"])
    return {
        "created": 0,  # Bedrock does not say when; the batch's time counts
        "choices": [{"message": {"content": _unfenced(text)}, "finish_reason": _REASONS.get(reason, reason)}],
        "usage": {
            "prompt_tokens": usage["inputTokens"] + cached + usage.get("cacheWriteInputTokens", 0),
            "completion_tokens": usage["outputTokens"],
            "prompt_tokens_details": {"cached_tokens": cached},
        },
    }


def _unfenced(text: str) -> str:
    """Return a text without the fence of Markdown that models put around JSON."""
    found = re.fullmatch(r"\s*```(?:json)?\s*(.*?)\s*```\s*", text, re.DOTALL)
    return found[1] if found else text


def _usage(manifest: bytes) -> Usage | None:
    try:
        found = json.loads(manifest)
        return Usage(int(found["inputTokenCount"]), int(found["outputTokenCount"]))
    except (ValueError, KeyError, TypeError):
        return None
