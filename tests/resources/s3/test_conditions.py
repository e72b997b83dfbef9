"""An S3 that ignores the conditions of writes is refused before the first one, with one question per bucket."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pyarrow as pa
import pytest

from resources.delta.table import LakeResource, TableSpec
from resources.s3 import conditions
from resources.s3.client import S3Resource
from resources.s3.conditions import PROBE, IgnoredConditionError
from resources.spend.store import S3Store

SPEC = TableSpec("lake/x", pa.schema([("account_bucket", pa.int32()), ("key", pa.string())]), ("key",))


@contextmanager
def ignoring(s3: S3Resource, header: str) -> Iterator[list[str]]:
    """Take a header off every put, as an S3 does that does not know it. Yield the keys that were put."""
    events, seen = s3.client.meta.events, []

    def strip(request: Any, **_: Any) -> None:
        seen.append(request.url.partition("?")[0].partition(f"/{s3.bucket}/")[2])
        del request.headers[header]

    events.register("before-sign.s3.PutObject", strip)
    try:
        yield seen
    finally:
        events.unregister("before-sign.s3.PutObject", strip)


def test_the_first_conditional_write_of_any_kind_is_refused(s3: S3Resource) -> None:
    sentence = r"^S3 at http://127.0.0.1:\d+ ignores If-None-Match for bucket test-\w+, so two runs could [^.]+\.$"
    with ignoring(s3, "If-None-Match") as seen:
        for write in (
            lambda: s3.put("a", b"", if_absent=True),
            lambda: s3.put_json("a.json", {}, if_absent=True),
            lambda: S3Store(s3).create("a", b""),
            lambda: LakeResource(s3=s3).create(SPEC),
        ):
            with pytest.raises(IgnoredConditionError, match=sentence):
                write()
        s3.put("b", b"", if_absent=False)
    assert set(seen) == {PROBE, "b"}


def test_an_s3_that_ignores_if_match_loses_no_ledger(s3: S3Resource) -> None:
    store = S3Store(s3)
    store.create("account", b"1")
    with ignoring(s3, "If-Match"), pytest.raises(IgnoredConditionError, match="ignores If-Match"):
        store.replace("account", b"2", '"1"')
    assert s3.get("account") == b"1"


def test_an_s3_that_refuses_the_header_as_unknown_is_refused(s3: S3Resource, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(conditions, "_REFUSED", set())
    monkeypatch.setattr(conditions, "_UNSUPPORTED", {"PreconditionFailed"})
    s3.put(PROBE, b"")
    with pytest.raises(IgnoredConditionError):
        s3.put("a", b"", if_absent=True)


def test_a_bucket_is_asked_once_per_process_and_with_one_request_after_the_first(
    s3: S3Resource, monkeypatch: pytest.MonkeyPatch
) -> None:
    with ignoring(s3, "x-none") as seen:
        for _ in range(3):
            assert s3.put("a", b"", if_absent=True) is (seen.count("a") == 1)
        assert seen == [PROBE, PROBE, "a", "a", "a"]
        seen.clear()
        monkeypatch.setattr(conditions, "_proven", set())  # as another process has it
        s3.put("b", b"", if_absent=True)
        S3Store(s3).replace("a", b"", '"0"')
        assert seen == [PROBE, "b", PROBE, "a"]
