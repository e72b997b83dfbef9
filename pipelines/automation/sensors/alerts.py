"""The sensor that alerts people: each problem once when it begins, and once when it has ended."""

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta

from dagster import SensorEvaluationContext, SensorResult, SkipReason, sensor

from pipelines.automation.freshness import fail_windows
from pipelines.automation.problems import Problems, problems
from pipelines.automation.sensors.cursor import Cursor
from resources.alerts.notifier import Alert, AlertNotSentError, AlertsResource
from resources.settings import stalled_hours

_INTERVAL_SECONDS = 60
_MOST_PENDING = 500
"""Messages that wait for a channel that does not answer; the oldest are dropped."""
Send = Callable[[str, Alert], None]


@dataclass(frozen=True)
class Pending:
    """A message that a channel has not taken yet."""

    channel: str
    text: str
    has_ended: bool = False


@dataclass(frozen=True)
class Told(Cursor):
    """The sensor's cursor. ``open``: key of a problem that was told → its sentence."""

    open: dict[str, str] = field(default_factory=dict)
    pending: tuple[Pending, ...] = ()

    def after(self, now: Problems, channels: tuple[str, ...]) -> "Told":
        """Return the cursor with the messages about what began and what ended.

        A problem keeps its first sentence while it lasts, so that another count in it is no other problem.
        """
        began = {key: text for key, text in now.found.items() if key not in self.open}
        lasting = {key: text for key, text in self.open.items() if key in now.found or key in now.unknown}
        ended = [text for key, text in self.open.items() if key not in lasting]
        messages = [(text, False) for text in began.values()] + [(text, True) for text in ended]
        new = tuple(Pending(channel, *message) for message in messages for channel in channels)
        return replace(self, open={**lasting, **began}, pending=(*self.pending, *new)[-_MOST_PENDING:])

    def sent(self, send: Send) -> tuple["Told", list[str]]:
        """Send what is pending. Return the cursor without what was sent, and why the rest was not.

        A channel that fails is not asked again in this tick.
        """
        left, errors = list[Pending](), dict[str, str]()
        for message in self.pending:
            if message.channel not in errors:
                try:
                    send(message.channel, Alert(message.text, message.has_ended))
                    continue
                except AlertNotSentError as error:
                    errors[message.channel] = str(error)
            left.append(message)
        return replace(self, pending=tuple(left)), [*errors.values()]


@sensor(
    minimum_interval_seconds=_INTERVAL_SECONDS,
    description="Alerts people to failed runs, failed checks, late assets and runs that do not end: once when a "
    "problem begins, once when it has ended.",
)
def alerts(context: SensorEvaluationContext, alerts: AlertsResource) -> SensorResult:
    """Compare the instance's state with what was told. Starts no run."""
    repository = context.repository_def
    checks = sorted(repository.asset_graph.asset_check_keys, key=str) if repository else []
    now = problems(context.instance, checks, fail_windows(), timedelta(hours=stalled_hours()), datetime.now(UTC))
    told, errors = Told.read(context.cursor).after(now, alerts.channels).sent(alerts.send)
    for error in errors:
        context.log.error(error)
    reason = f"{len(told.open)} problems are open. {' '.join(errors)}".strip()
    return SensorResult(skip_reason=SkipReason(reason), cursor=told.written())
