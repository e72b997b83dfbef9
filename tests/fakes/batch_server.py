"""A batch API that keeps its own account of what it billed, with a fault where a test says so."""

import datetime as dt
import json
import re
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any

import httpx2

from tests.fakes.spend_store import START

Reply = tuple[int, Any, dict[str, str]] | None
"""Status, body and headers; None when the connection breaks."""
OTHERS = 230
"""Batches of other people, over several pages of a list."""


@dataclass
class BatchAccount:
    """Files, batches and bills. ``fault`` is the one fault of this account, and strikes ``times`` times.

    ``per_token``: USD. ``step`` is called before and after each request, and may end the process. A batch ends the
    second time that it is looked at. ``lost``: what was billed and whose answer is given to nobody.
    """

    per_token: Decimal
    now: Callable[[], dt.datetime]
    fault: str = ""
    times: int = 1
    together: bool = False
    most_lines: int = 1_000
    step: Callable[[], None] = lambda: None
    files: dict[str, tuple[str, bytes]] = field(default_factory=dict)
    batches: dict[str, dict[str, Any]] = field(default_factory=dict)
    bills: list[tuple[str, Decimal]] = field(default_factory=list)
    lost: set[str] = field(default_factory=set)
    requests: Counter[str] = field(default_factory=Counter)
    ever: list[str] = field(default_factory=list)

    @property
    def usd(self) -> Decimal:
        return sum((usd for _, usd in self.bills), Decimal(0))

    def strikes(self, *faults: str) -> bool:
        """Return whether one of these faults happens now."""
        if self.fault in faults and self.times > 0:
            self.times -= 1
            return True
        return False

    def transport(self) -> httpx2.MockTransport:
        def handle(request: httpx2.Request) -> httpx2.Response:
            self.step()
            reply = self.answer(request.method, request.url.path.removeprefix("/v1"), request)
            self.step()
            if reply is None:
                raise httpx2.ReadTimeout("the answer did not come", request=request)
            status, body, headers = reply
            content = body if isinstance(body, bytes) else json.dumps(body).encode()
            return httpx2.Response(status, content=content, headers=headers)

        return httpx2.MockTransport(handle)

    def answer(self, method: str, path: str, request: httpx2.Request) -> Reply:
        """Answer one request."""
        self.requests[f"{method} {re.sub('(batch|file)-[0-9]+', 'ID', path)}"] += 1
        body = request.read()
        if method == "POST" and path == ("/files/upload" if self.together else "/files"):
            return self._upload(body)
        if method == "POST" and path == "/batches":
            return self._create(json.loads(body))
        if method == "GET" and path == "/batches":
            return self._list(request.url.params.get("after"))
        if method == "GET" and path == "/files":
            return 200, {"data": [{"id": id_, "filename": name} for id_, (name, _) in self.files.items()]}, {}
        if found := re.fullmatch("/batches/([^/]+)(/cancel)?", path):
            return self._batch(found[1], is_cancelled=bool(found[2]))
        if found := re.fullmatch("/files/([^/]+)(/content)?", path):
            return self._content(found[1]) if found[2] else self._delete(found[1])
        return 404, {"error": {"message": f"no {path}"}}, {}

    def _upload(self, body: bytes) -> Reply:
        name = re.search(rb'filename="([^"]+)"', body)[1].decode()  # type: ignore[index]
        lines = re.search(rb'filename="[^"]+"\r\n[^\r]*\r\n\r\n(.*)\r\n--', body, re.DOTALL)[1]  # type: ignore[index]
        if self.strikes("upload: 500"):
            return 500, {"error": {"message": "broken"}}, {}
        if lines.count(b"\n") > self.most_lines:
            return 413, {"error": {"message": "too large"}}, {}
        id_ = f"file-{len(self.ever)}"
        self.ever.append(id_)
        self.files[id_] = (name, lines)
        if self.strikes("upload: answer lost"):
            return None
        return 200, {"id": id_}, {}

    def _create(self, body: dict[str, Any]) -> Reply:
        if self.strikes("create: request lost"):
            return None
        if self.strikes("create: 429"):
            return 429, {"error": {"message": "slow down"}}, {"Retry-After": "1"}
        if self.strikes("create: quota"):
            return 429, {"error": {"message": "You exceeded your current quota", "code": "insufficient_quota"}}, {}
        if self.strikes("create: 400"):
            return 400, {"error": {"message": "enqueued token limit"}}, {}
        id_ = f"batch-{len(self.batches)}"
        self.batches[id_] = {
            "id": id_,
            "input_file_id": body["input_file_id"],
            "metadata": None if self.together else body.get("metadata"),
            "created_at": int(self.now().timestamp()),
            "status": "validating",
            "looks": 0,
        }
        is_lost = self.fault == "list: 500" and self.times > 0  # only a lost answer has the list read
        if self.strikes("create: answer lost", "create: hidden in lists") or is_lost:
            return None
        if self.strikes("create: 500, made"):
            return 500, {"error": {"message": "broken"}}, {}
        if self.strikes("create: garbage"):
            return 200, b"<html>", {}
        return 200, self._shown(self.batches[id_]), {}

    def _list(self, after: str | None) -> Reply:
        if self.strikes("list: 500"):
            return 500, {"error": {"message": "broken"}}, {}
        young = dt.timedelta(minutes=12)
        now = self.now()
        own = [
            self._shown(batch)
            for batch in reversed(self.batches.values())
            if self.fault != "create: hidden in lists"
            or now - dt.datetime.fromtimestamp(batch["created_at"], dt.UTC) > young
        ]
        stamp = int(now.timestamp())
        others: list[dict[str, Any]] = [
            {
                "id": f"other-{n}",
                "status": "completed",
                "input_file_id": f"x{n}",
                "created_at": stamp,
                "metadata": {"a": "b"},
            }
            for n in range(OTHERS)
        ]
        rows = [*others, {"id": "odd"}, *own]
        if self.together:
            return 200, rows, {}
        start = 1 + next((n for n, row in enumerate(rows) if row["id"] == after), -1)
        page = rows[start : start + 100]
        return 200, {"data": page, "has_more": start + 100 < len(rows)}, {}

    def _batch(self, id_: str, *, is_cancelled: bool) -> Reply:
        if id_ not in self.batches or (self.fault == "batch: gone" and id_ == "batch-0"):
            return 404, {"error": {"message": "no such batch"}}, {}
        if self.strikes("batch: 500"):
            return 500, {"error": {"message": "broken"}}, {}
        batch = self.batches[id_]
        batch["looks"] += 1
        if is_cancelled:
            batch["is_cancelled"] = True
        elif batch["looks"] >= 2 and batch["status"] in ("validating", "in_progress"):
            self._end(batch)
        elif self.fault == "done: output file late" and batch["looks"] >= 4 and "late" in batch:
            batch["output_file_id"] = batch.pop("late")
        return 200, self._shown(batch), {}

    def _end(self, batch: dict[str, Any]) -> None:  # noqa: C901 -- one branch a fault
        """Work on the requests, bill them, and write the files as the account's fault says."""
        if batch["input_file_id"] not in self.files:
            batch["status"] = "failed"
            return
        lines = [json.loads(line) for line in self.files[batch["input_file_id"]][1].splitlines()]
        batch["status"] = "completed"
        fault = self.fault if self.times > 0 else ""
        if fault.startswith(("done", "ended")):
            self.times -= 1
        if fault == "ended: failed":
            batch.update(status="failed", errors={"data": [{"message": "bad line"}]}, request_counts={"completed": 0})
            return
        done, errors = lines, list[dict[str, Any]]()
        if fault in ("ended: expired", "ended: cancelled") or batch.get("is_cancelled"):
            batch["status"] = "expired" if fault == "ended: expired" else "cancelled"
            done, errors = (
                lines[: len(lines) // 2],
                [self._error(line, "batch_expired") for line in lines[len(lines) // 2 :]],
            )
            if fault == "ended: cancelled":
                errors = []
        if fault == "done: errors only":
            done, errors = [], [self._error(line, "server_error", 500) for line in lines]
        if fault == "done: some refused":
            done, errors = lines[1:], [self._error(lines[0], "bad_request", 400)]
        if fault in ("done: missing, not billed", "done: missing, no counts"):
            done = lines[1:]
        if fault == "done: empty":
            done = []
        answers = [self._billed(line) for line in done]
        usage = [answer["response"]["body"]["usage"] for answer in answers]
        totals = {name: sum(each[of] for each in usage) for name, of in _NAMES.items()}
        if fault == "done: answers twice":
            answers = [*answers, *answers]
        if fault == "done: worked twice":
            more = [self._billed(line) for line in done]
            answers, totals = [*answers, *more], {name: 2 * value for name, value in totals.items()}
        if fault == "done: foreign ids":
            answers.append({**answers[0], "custom_id": "somebody-else"})
        if fault in ("done: missing, billed by usage", "done: missing, billed by counts"):
            self.lost.update(str(answer["custom_id"]) for answer in answers[:2])
            answers = answers[2:]
        if fault == "done: wrong order":
            answers.reverse()
        batch["request_counts"] = {"total": len(lines), "completed": len(done), "failed": len(errors)}
        if fault == "done: worked twice":
            batch["request_counts"]["completed"] *= 2
        if fault != "done: missing, billed by counts" and not self.together:
            batch["usage"] = totals
        if fault in ("done: missing, no counts", "done: no counts") or self.together:
            batch.pop("request_counts", None)
            batch.pop("usage", None)
        gap = b"\n\n" if fault == "done: blank lines" else b"\n"
        output = b"".join(json.dumps(answer).encode() + gap for answer in answers)
        if fault == "done: never a file":
            self.lost.update(str(answer["custom_id"]) for answer in answers)
        elif fault == "done: output file late":
            batch["late"] = self._write(output)
        elif answers:
            batch["output_file_id"] = self._write(output)
        if errors:
            batch["error_file_id"] = self._write(b"".join(json.dumps(line).encode() + b"\n" for line in errors))

    def _billed(self, line: dict[str, Any]) -> dict[str, Any]:
        size = sum(len(message["content"].encode()) for message in line["body"]["messages"])
        usage = {"prompt_tokens": size // 4 + 12, "completion_tokens": 1 + size % line["body"]["max_tokens"]}
        self.bills.append((line["custom_id"], (usage["prompt_tokens"] + usage["completion_tokens"]) * self.per_token))
        message = {"message": {"content": json.dumps({"echo": size})}, "finish_reason": "stop"}
        body = {
            "id": f"answer-{len(self.bills)}",
            "created": int(START.timestamp()),
            "model": line["body"]["model"],
            "choices": [message],
            "usage": usage,
        }
        return {"custom_id": line["custom_id"], "response": {"status_code": 200, "body": body}, "error": None}

    def _error(self, line: dict[str, Any], code: str, status: int | None = None) -> dict[str, Any]:
        response = None if status is None else {"status_code": status, "body": {"error": {"message": code}}}
        return {"custom_id": line["custom_id"], "response": response, "error": {"code": code}}

    def _write(self, body: bytes) -> str:
        id_ = f"file-{len(self.ever)}"
        self.ever.append(id_)
        self.files[id_] = ("output.jsonl", body)
        return id_

    def _content(self, id_: str) -> Reply:
        if id_ not in self.files:
            return 404, {"error": {"message": "no such file"}}, {}
        body = self.files[id_][1]
        if self.strikes("download: 500"):
            return 500, {"error": {"message": "broken"}}, {}
        if self.strikes("download: half"):
            return 200, body[: len(body) // 2], {"Content-Length": str(len(body))}
        if self.strikes("download: half, without a length"):
            return 200, body[: len(body) // 2 + 5], {"Transfer-Encoding": "chunked"}
        if self.strikes("download: lost"):
            return None
        return 200, body, {}

    def _delete(self, id_: str) -> Reply:
        if self.strikes("delete: 500"):
            return 500, {"error": {"message": "broken"}}, {}
        if self.strikes("delete: answer lost"):
            self.files.pop(id_, None)
            return None
        return (200, {"deleted": True}, {}) if self.files.pop(id_, None) else (404, {"error": {"message": "none"}}, {})

    def _shown(self, batch: dict[str, Any]) -> dict[str, Any]:
        shown = {name: value for name, value in batch.items() if name not in ("looks", "late", "is_cancelled")}
        if not self.together:
            return shown
        return {"job": {**shown, "status": shown["status"].upper(), "created_at": "2026-11-29T12:00:00Z"}}


_NAMES = {"input_tokens": "prompt_tokens", "output_tokens": "completion_tokens"}
FAULTS = (
    *("upload: 500", "upload: answer lost", "create: request lost", "create: 429", "create: quota", "create: 400"),
    *("create: answer lost", "create: hidden in lists", "create: 500, made", "create: garbage", "list: 500"),
    *("batch: 500", "ended: failed", "ended: expired", "ended: cancelled", "done: errors only", "done: some refused"),
    *("done: missing, not billed", "done: empty", "done: answers twice", "done: worked twice", "done: foreign ids"),
    *("done: missing, billed by usage", "done: wrong order", "done: blank lines"),
    *("done: no counts", "done: never a file", "done: output file late", "download: 500", "download: half"),
    *("download: half, without a length", "download: lost", "delete: 500", "delete: answer lost"),
)
BY_USAGE = (*("done: missing, not billed", "done: missing, billed by usage", "done: never a file", "done: empty"),)
"""Faults whose cost only a provider can tell that states usage."""
