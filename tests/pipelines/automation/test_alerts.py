"""Alerts: each problem once per channel when it begins, and once when it has ended."""

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import Any

import pytest
from dagster import (
    AssetCheckKey,
    AssetCheckResult,
    AssetCheckSeverity,
    AssetKey,
    DagsterInstance,
    DagsterRunStatus,
    Definitions,
    MaterializeResult,
    asset,
    asset_check,
    define_asset_job,
    job,
)
from hypothesis import given
from hypothesis import strategies as st

from pipelines.automation.freshness import POLICIES, fail_windows
from pipelines.automation.problems import Problems, problems
from pipelines.automation.sensors.alerts import Pending, Told
from resources.alerts.notifier import LOG, SNS, WEBHOOK, Alert, AlertNotSentError, AlertsResource

HOUR = timedelta(hours=1)


@job
def bucket() -> None: ...


@pytest.fixture
def instance() -> Iterator[DagsterInstance]:
    with DagsterInstance.ephemeral() as made:
        yield made


def found(instance: DagsterInstance, later: timedelta = timedelta(), **wanted: Any) -> Problems:
    given = {"checks": [], "windows": {}, "stalled": 6 * HOUR, **wanted}
    return problems(instance, now=datetime.now(UTC) + later, **given)


def run(instance: DagsterInstance, status: DagsterRunStatus, place: str = "3", **tags: str) -> None:
    instance.create_run_for_job(bucket, status=status, tags={"dagster/partition": place, **tags})


def test_a_failed_run_is_a_problem_until_a_later_one_of_its_job_and_bucket_succeeds(instance: DagsterInstance) -> None:
    run(instance, DagsterRunStatus.SUCCESS)
    assert found(instance).found == {}
    run(instance, DagsterRunStatus.FAILURE)
    run(instance, DagsterRunStatus.SUCCESS, "4")
    run(instance, DagsterRunStatus.STARTED)
    [(key, text)] = found(instance).found.items()
    assert key == "run bucket for buckets 3"
    assert "bucket for buckets 3 failed" in text
    run(instance, DagsterRunStatus.SUCCESS)
    assert found(instance).found == {}


def test_a_failed_run_that_is_retried_is_not_told_yet(instance: DagsterInstance) -> None:
    run(instance, DagsterRunStatus.FAILURE, **{"dagster/will_retry": "true"})
    assert found(instance) == Problems({}, {"run bucket for buckets 3"})


def test_a_run_that_does_not_end_is_stalled(instance: DagsterInstance) -> None:
    run(instance, DagsterRunStatus.STARTED)
    assert found(instance).found == {}
    [text] = found(instance, 7 * HOUR).found.values()
    assert "of bucket for buckets 3 is started since 7 hours" in text
    run(instance, DagsterRunStatus.FAILURE, "5")
    assert len(found(instance, 7 * HOUR).found) == 2


def test_failed_checks_of_severity_error_are_problems_and_the_runs_that_they_stop_are_not(
    instance: DagsterInstance,
) -> None:
    results = {"stops": (False, AssetCheckSeverity.ERROR), "warns": (False, AssetCheckSeverity.WARN)}

    @asset
    def table() -> MaterializeResult[None]:
        return MaterializeResult()

    @asset_check(asset=table, blocking=True)
    def stops() -> AssetCheckResult:
        passed, severity = results["stops"]
        return AssetCheckResult(passed=passed, severity=severity, description="2 repeated keys.")

    @asset_check(asset=table)
    def warns() -> AssetCheckResult:
        return AssetCheckResult(passed=False, severity=AssetCheckSeverity.WARN)

    made = Definitions(assets=[table], asset_checks=[stops, warns], jobs=[define_asset_job("tables")])
    quiet = {"loggers": {"console": {"config": {"log_level": "CRITICAL"}}}}

    def execute() -> None:
        made.resolve_job_def("tables").execute_in_process(instance=instance, run_config=quiet, raise_on_error=False)

    checks = [AssetCheckKey(AssetKey("table"), name) for name in results]
    execute()
    assert found(instance, checks=checks).found == {"check table:stops": "Check table:stops failed: 2 repeated keys."}
    results["stops"] = True, AssetCheckSeverity.ERROR
    execute()
    assert found(instance, checks=checks).found == {}
    late = found(instance, 25 * HOUR, windows={AssetKey("table"): 24 * HOUR, AssetKey("never"): HOUR}).found
    assert list(late) == ["late table"]
    assert "was last updated 25 hours ago; at most 24 are promised" in late["late table"]


def test_everything_served_has_a_window() -> None:
    assert {key.path[0] for key in fail_windows()} == POLICIES.keys() >= {"qdrant", "mart", "quicksight", "lake"}


@dataclass
class Channel:
    """A channel that may be down. ``taken`` are the messages that arrived."""

    is_down: bool = False
    taken: list[str] = field(default_factory=list)

    def send(self, _name: str, alert: Alert) -> None:
        if self.is_down:
            raise AlertNotSentError("down")
        self.taken.append(alert.line)


@given(st.lists(st.tuples(st.sampled_from("abc"), st.sampled_from(["begin", "end", "unknown", "down", "up"]))))
def test_whatever_happens_each_change_is_told_once(events: list[tuple[str, str]]) -> None:
    channel, told, now, changes = Channel(), Told(), Problems(), list[str]()
    for key, kind in events:
        if kind == "begin" and key not in now.found:
            changes += [f"Problem: {key}"] if key not in told.open else []
            now.found[key] = key
            now.unknown.discard(key)
        elif kind == "end":
            changes += [f"Ended: {key}"] if key in told.open else []
            now.found.pop(key, None)
            now.unknown.discard(key)
        elif kind == "unknown":
            now.found.pop(key, None)
            now.unknown.add(key)
        else:
            channel.is_down = kind == "down" if kind in {"down", "up"} else channel.is_down
        told, _ = Told.read(told.after(now, ("x",)).written()).sent(channel.send)
    channel.is_down = False
    told, errors = told.sent(channel.send)
    assert (channel.taken, told.pending, errors) == (changes, (), [])


def test_a_channel_that_is_down_keeps_its_messages_and_does_not_repeat_those_of_others() -> None:
    taken = list[str]()

    def send(name: str, alert: Alert) -> None:
        if name == "broken":
            raise AlertNotSentError("The webhook answered 500.")
        taken.append(alert.line)

    told, errors = Told().after(Problems({"a": "A", "b": "B"}), ("works", "broken")).sent(send)
    assert taken == ["Problem: A", "Problem: B"]
    assert errors == ["The webhook answered 500."]
    assert told.pending == (Pending("broken", "A"), Pending("broken", "B"))
    assert told.after(Problems({"a": "A, other count", "b": "B"}), ("works", "broken")) == told


@contextmanager
def webhook(status: int) -> Iterator[tuple[str, list[dict[str, str]]]]:
    taken = list[dict[str, str]]()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            taken.append(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
            self.send_response(status)
            self.end_headers()

        def log_message(self, *_: object) -> None: ...

    with HTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}/services/secret-token", taken
        server.shutdown()
        thread.join()


def test_a_webhook_gets_text_that_is_no_markup(caplog: pytest.LogCaptureFixture) -> None:
    with webhook(200) as (url, taken):
        alerts = AlertsResource(webhook_url=url)
        assert alerts.channels == (LOG, WEBHOOK)
        for channel in alerts.channels:
            alerts.send(channel, Alert("Check <!channel>\nfailed & stopped", has_ended=True))
    assert taken == [{"text": "Ended: Check &lt;!channel&gt; failed &amp; stopped"}]
    assert "secret-token" not in caplog.text


@pytest.mark.parametrize("url", ["http://127.0.0.1:9/services/secret-token", "http://[bad/secret-token", "nonsense"])
def test_a_webhook_that_cannot_be_reached_is_an_error_without_its_secret(url: str) -> None:
    with pytest.raises(AlertNotSentError, match="webhook") as error:
        AlertsResource(webhook_url=url).send(WEBHOOK, Alert("A"))
    assert "secret" not in str(error.value)


def test_a_refusal_names_the_status() -> None:
    with webhook(403) as (url, _), pytest.raises(AlertNotSentError, match="answered 403"):
        AlertsResource(webhook_url=url).send(WEBHOOK, Alert("A"))


def test_sns_gets_a_subject_that_it_accepts(monkeypatch: pytest.MonkeyPatch) -> None:
    sent = list[dict[str, str]]()

    class Client:
        def publish(self, **message: str) -> None:
            sent.append(message)

    monkeypatch.setattr("resources.alerts.notifier.boto3.client", lambda *_, **__: Client())
    alerts = AlertsResource(sns_topic="arn:aws:sns:us-east-1:1:alerts")
    assert alerts.channels == (LOG, SNS)
    alerts.send(SNS, Alert("é" * 200))
    [message] = sent
    assert len(message["Subject"]) == 100
    assert message["Subject"].isascii()
    assert message["Message"] == f"Problem: {'é' * 200}"
