"""Amazon Bedrock's batch inference, asked through boto3: the account of ``BatchAccount`` in the words of Bedrock."""

import datetime as dt
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache, cached_property
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs, unquote, urlsplit

import boto3
from botocore.awsrequest import AWSPreparedRequest, AWSResponse
from botocore.compat import HTTPHeaders
from botocore.config import Config
from botocore.exceptions import ReadTimeoutError

from resources.llm.batches.bedrock import FOLDER
from resources.llm.batches.openai_api import JOB
from tests.fakes.batch_server import BatchAccount, Reply
from tests.fakes.spend_store import MemoryStore

if TYPE_CHECKING:
    from mypy_boto3_bedrock import BedrockClient

BUCKET = "lake"
ROLE = "arn:aws:iam::123456789012:role/batches"
_ARN = "arn:aws:bedrock:us-east-1:123456789012:model-invocation-job/"
_STATES = {
    "validating": "Validating",
    "completed": "Completed",
    "expired": "Expired",
    "cancelled": "Stopped",
    "failed": "Failed",
}


@cache
def _session() -> boto3.Session:
    """Return a session that all share: it keeps the parsed model of the service."""
    return boto3.Session("key", "secret", region_name="us-east-1")


class _Body:
    """What botocore reads a body from."""

    def __init__(self, body: bytes) -> None:
        self._body = body

    def stream(self, **_: object) -> Any:
        yield self._body


@dataclass
class BedrockAccount(BatchAccount):
    """Requests and answers are objects of ``store``, as Bedrock's are objects of a bucket."""

    store: MemoryStore = field(default_factory=MemoryStore)
    tokens: dict[str, str] = field(default_factory=dict)

    @cached_property
    def client(self) -> "BedrockClient":
        """boto3's client, whose requests this account answers."""
        made = _session().client("bedrock", config=Config(retries={"total_max_attempts": 1}))
        answered: Any = self._sent  # botocore takes what a handler of this event returns for the answer
        made.meta.events.register("before-send.bedrock", answered)
        return made

    def _sent(self, request: AWSPreparedRequest, **_: object) -> AWSResponse:
        self.step()
        url = urlsplit(request.url)
        query = {name: values[0] for name, values in parse_qs(url.query).items()}
        reply = self._answer(request.method, unquote(url.path), query, request.body)
        self.step()
        if reply is None:
            raise ReadTimeoutError(endpoint_url=request.url)
        status, body, headers = reply
        content = body if isinstance(body, bytes) else json.dumps(body).encode()
        if status >= 300:
            content = json.dumps({"message": body["error"]["message"]}).encode()
            headers = {"x-amzn-errortype": "ThrottlingException" if status == 429 else "ValidationException"}
        return AWSResponse(request.url, status, HTTPHeaders.from_dict(headers), _Body(content))

    def _answer(self, method: str, path: str, query: Mapping[str, str], body: Any) -> Reply:
        if method == "POST" and path == "/model-invocation-job":
            self.requests["POST /batches"] += 1
            return self._made(json.loads(body))
        if method == "GET" and path == "/model-invocation-jobs":
            self.requests["GET /batches"] += 1
            return self._jobs(query)
        found = re.fullmatch(f"/model-invocation-job/{_ARN}([^/]+)(/stop)?", path)
        assert found is not None, path
        self.requests[f"{method} /batches/ID"] += 1
        reply = self._batch(found[1], is_cancelled=bool(found[2]))
        return (200, self._described(self.batches[found[1]]), {}) if reply and reply[0] == 200 else reply

    def _made(self, asked: Mapping[str, Any]) -> Reply:
        assert (asked["roleArn"], asked["modelInvocationType"]) == (ROLE, "Converse")
        if asked["clientRequestToken"] in self.tokens:
            return 200, {"jobArn": _ARN + self.tokens[asked["clientRequestToken"]]}, {}
        uri = asked["inputDataConfig"]["s3InputDataConfig"]["s3Uri"]
        key = uri.removeprefix(f"s3://{BUCKET}/")
        before = set(self.batches)
        reply = self._create({"input_file_id": key, "metadata": {JOB: asked["jobName"]}})
        for id_ in self.batches.keys() - before:
            self.tokens[asked["clientRequestToken"]] = id_
            self.batches[id_]["output"] = asked["outputDataConfig"]["s3OutputDataConfig"]["s3Uri"]
        if reply is None or reply[0] != 200 or isinstance(reply[1], bytes):
            return reply
        return 200, {"jobArn": _ARN + reply[1]["id"]}, {}

    def _jobs(self, query: Mapping[str, str]) -> Reply:
        """Return a page of the jobs whose name has the words asked for: ours, and one of somebody else."""
        reply = self._list(query.get("nextToken"))
        if reply is None or reply[0] != 200:
            return reply
        rows = [row for row in reply[1]["data"] if row["id"] in self.batches]
        shown = [self._described(self.batches[row["id"]]) for row in rows]
        theirs = {**shown[0], "jobName": f"{query['nameContains']}theirs", "jobArn": f"{_ARN}theirs"} if shown else None
        if theirs:
            theirs["inputDataConfig"] = {"s3InputDataConfig": {"s3Uri": "s3://another/input.jsonl"}}
        page = {"invocationJobSummaries": [*([theirs] if theirs else []), *shown]}
        return 200, {**page, **({"nextToken": reply[1]["data"][-1]["id"]} if reply[1]["has_more"] else {})}, {}

    def _described(self, batch: Mapping[str, Any]) -> dict[str, Any]:
        counts = batch.get("request_counts") or {}
        errors = (batch.get("errors") or {}).get("data") or [{}]
        return {
            "jobArn": _ARN + batch["id"],
            "jobName": batch["metadata"][JOB],
            "modelId": "tiny",
            "roleArn": ROLE,
            "status": _STATES[batch["status"]],
            "message": errors[0].get("message", ""),
            "submitTime": dt.datetime.fromtimestamp(batch["created_at"], dt.UTC).isoformat(),
            "inputDataConfig": {"s3InputDataConfig": {"s3Uri": f"s3://{BUCKET}/{batch['input_file_id']}"}},
            "outputDataConfig": {"s3OutputDataConfig": {"s3Uri": batch["output"]}},
            **({"successRecordCount": counts["completed"]} if "completed" in counts else {}),
        }

    def _end(self, batch: dict[str, Any]) -> None:
        """Read the requests from the store, and write the answers and a manifest there."""
        key = batch["input_file_id"]
        body = self.store.objects.get(key)
        if body is not None:
            self.files[key] = ("", b"\n".join(_request(line) for line in body.splitlines()))
        super()._end(batch)
        self.files.clear()
        for name in ("output_file_id", "error_file_id"):
            if file := batch.pop(name, None):
                self._write_to_store(batch, self.written[file])
        if "late" in batch:
            batch["late_body"] = self.written[batch["late"]]
        if "usage" in batch:
            tokens = {"inputTokenCount": batch["usage"]["input_tokens"]}
            tokens["outputTokenCount"] = batch["usage"]["output_tokens"]
            self.store.objects[self._folder(batch) + "manifest.json.out"] = json.dumps(tokens).encode()

    written: dict[str, bytes] = field(default_factory=dict)

    def _write(self, body: bytes) -> str:
        id_ = f"file-{len(self.ever)}"
        self.ever.append(id_)
        self.written[id_] = body
        return id_

    def _batch(self, id_: str, *, is_cancelled: bool) -> Reply:
        reply = super()._batch(id_, is_cancelled=is_cancelled)
        batch = self.batches.get(id_, {})
        if file := batch.pop("output_file_id", None):  # it came late
            self._write_to_store(batch, self.written[file])
        return reply

    def _folder(self, batch: Mapping[str, Any]) -> str:
        return f"{batch['output'].removeprefix(f's3://{BUCKET}/')}{batch['id']}/"

    def _write_to_store(self, batch: Mapping[str, Any], body: bytes) -> None:
        key = self._folder(batch) + "input.jsonl.out"
        lines = b"\n".join(_answer(line) for line in body.splitlines())
        self.store.objects[key] = self.store.objects.get(key, b"") + lines + b"\n"

    def left(self) -> list[str]:
        return [key for key in self.store.objects if key.startswith(FOLDER)]


def _request(line: bytes) -> bytes:
    found = json.loads(line)
    asked = found["modelInput"]
    said = [{"content": each["content"][0]["text"]} for each in asked["messages"]]
    assert "Answer with JSON of this schema alone" in asked["system"][0]["text"]
    body = {"model": "tiny", "messages": said, "max_tokens": asked["inferenceConfig"]["maxTokens"]}
    return json.dumps({"custom_id": found["recordId"], "body": body}).encode()


def _answer(line: bytes) -> bytes:
    if not line.strip():
        return line
    found = json.loads(line)
    response = found["response"] or {"status_code": 500}
    if response["status_code"] != 200:
        error = {"errorCode": response["status_code"], "errorMessage": "no"}
        return json.dumps({"recordId": found["custom_id"], "modelInput": {}, "error": error}).encode()
    body = response["body"]
    text = body["choices"][0]["message"]["content"]
    usage = {"inputTokens": body["usage"]["prompt_tokens"], "outputTokens": body["usage"]["completion_tokens"]}
    output = {
        "output": {"message": {"role": "assistant", "content": [{"text": f"```json\n{text}\n```"}]}},
        "stopReason": "end_turn",
        "usage": usage,
    }
    return json.dumps({"recordId": found["custom_id"], "modelInput": {}, "modelOutput": output}).encode()
