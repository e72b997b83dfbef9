"""The server's own API under ``/_control/``, in JSON and without limits: counts, keys, failures, settings.

GET  /_control/stats              totals, per (prefix, verb, operation), timelines, keys written twice
GET  /_control/keys?prefix=b/k    bucket/key → [times applied, of these in doubt, MD5 etag or null]
GET  /_control/failures           the newest requests that did not succeed, with their request ids
GET, PUT /_control/settings       limits and faults; a PUT may name only some
POST /_control/reset              forget what was counted (objects stay)
POST /_control/clear              forget objects, too
"""

import json
from typing import Any
from urllib.parse import parse_qs

from tests.benchmarks.limited_s3.answers import Answer, Body
from tests.benchmarks.limited_s3.request import CONTROL, Request
from tests.benchmarks.limited_s3.service import Service
from tests.benchmarks.limited_s3.settings import SettingsError


def answer(service: Service, request: Request, body: Body) -> Answer:
    """Answer a control request: 404 for an unknown one, 400 for a wrong setting."""
    try:
        found = _found(service, request.method, request.path.removeprefix(CONTROL), request, body)
    except (SettingsError, ValueError, TypeError) as error:
        return _json({"error": str(error)}, 400)
    return _json({"error": f"There is no {request.method} {request.path}."}, 404) if found is None else _json(found)


def _found(service: Service, method: str, name: str, request: Request, body: Body) -> Any:
    match method, name:
        case "GET", "stats":
            return service.stats()
        case "GET", "keys":
            return _keys(service, parse_qs(request.raw_query).get("prefix", [""])[0])
        case "GET", "failures":
            return list(service.counts.failures)
        case "PUT", "settings":
            service.apply(service.settings.merged(json.loads(bytes(body))))
            return service.settings.to_json()
        case "GET", "settings":
            return service.settings.to_json()
        case "POST", "reset" | "clear":
            if name == "clear":
                for bucket in service.store.buckets.values():
                    bucket.objects.clear()
                    bucket.keys.clear()
            service.reset_counts()
            return {}
        case _:
            return None


def _keys(service: Service, prefix: str) -> dict[str, tuple[int, int, str | None]]:
    counts = service.counts
    there = {
        f"{name}/{key}": stored.etag
        for name, bucket in service.store.buckets.items()
        for key, stored in bucket.objects.items()
    }
    names = {name for name in (*there, *counts.applied) if name.startswith(prefix)}
    return {
        name: (counts.applied.get(name, 0), counts.in_doubt.get(name, 0), there.get(name)) for name in sorted(names)
    }


def _json(value: Any, status: int = 200) -> Answer:
    return Answer(status, json.dumps(value).encode(), (("Content-Type", "application/json"),))
