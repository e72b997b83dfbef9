"""Tell people that a problem began or ended."""

import json
import logging
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

import boto3
import httpx2
from botocore.exceptions import BotoCoreError, ClientError
from dagster import ConfigurableResource

from resources.errors import TransientFailure

_TIMEOUT_SECONDS = 10.0
_SUBJECT_CHARACTERS = 100
_LOGGER = logging.getLogger("cippus.alerts")
LOG, WEBHOOK, SNS = "log", "webhook", "sns"


class AlertNotSentError(TransientFailure):
    """A channel did not take an alert; it is sent again later."""


@dataclass(frozen=True)
class Alert:
    """One message: a problem began, or it has ended."""

    text: str
    has_ended: bool = False

    @property
    def line(self) -> str:
        """Return the message in one line."""
        return f"{'Ended' if self.has_ended else 'Problem'}: {' '.join(self.text.split())}"


class AlertsResource(ConfigurableResource):  # type: ignore[type-arg]
    """The channels of alerts. The log is always one; a webhook (Slack-compatible) and an SNS topic can be added."""

    webhook_url: str = ""
    sns_topic: str = ""
    region: str = "us-east-1"

    @property
    def channels(self) -> tuple[str, ...]:
        """Return the names of the configured channels."""
        return (LOG, *((WEBHOOK,) if self.webhook_url else ()), *((SNS,) if self.sns_topic else ()))

    def send(self, channel: str, alert: Alert) -> None:
        """Send an alert to one channel. Raise AlertNotSentError if the channel does not take it."""
        senders: dict[str, Callable[[Alert], None]] = {LOG: _log, WEBHOOK: self._post, SNS: self._publish}
        senders[channel](alert)

    def _post(self, alert: Alert) -> None:
        try:
            host = urlsplit(self.webhook_url).hostname  # the path of a webhook is a secret
        except ValueError:
            host = None
        if host is None:
            raise AlertNotSentError("CIPPUS_ALERTS_WEBHOOK is no URL of a webhook; it must begin with https://.")
        try:
            answer = _client().post(self.webhook_url, json={"text": _escaped(alert.line)})
        except (httpx2.HTTPError, httpx2.InvalidURL) as error:
            raise AlertNotSentError(f"The webhook at {host} cannot be reached: {type(error).__name__}.") from None
        if not answer.is_success:
            raise AlertNotSentError(f"The webhook at {host} answered {answer.status_code}; check the URL's token.")

    def _publish(self, alert: Alert) -> None:
        client: Any = boto3.client("sns", region_name=self.region)
        printable = "".join(letter if " " <= letter <= "~" else "?" for letter in alert.line)
        try:
            client.publish(TopicArn=self.sns_topic, Subject=printable[:_SUBJECT_CHARACTERS], Message=alert.line)
        except (BotoCoreError, ClientError) as error:
            code = error.response["Error"]["Code"] if isinstance(error, ClientError) else type(error).__name__
            raise AlertNotSentError(f"SNS topic {self.sns_topic} did not take an alert: {code}.") from None


def _client() -> httpx2.Client:
    return httpx2.Client(timeout=_TIMEOUT_SECONDS)


def _log(alert: Alert) -> None:
    _LOGGER.log(logging.INFO if alert.has_ended else logging.ERROR, json.dumps(alert.line, ensure_ascii=False)[1:-1])


def _escaped(text: str) -> str:
    """Return a text in which Slack finds no link, mention or markup of its own."""
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
