"""Settings of alerts."""

from typing import ClassVar

from resources.environment_variables import Settings, variable
from resources.settings.kinds import Positive


class AlertSettings(Settings):
    """Alerts of failed runs, failed checks, missed freshness and stalled buckets."""

    SECRETS: ClassVar = {"CIPPUS_ALERTS_WEBHOOK": "URL of a Slack-compatible webhook that alerts are posted to."}

    sns_topic: str = variable("CIPPUS_ALERTS_SNS_TOPIC", "ARN of the SNS topic that alerts are published to.")
    stalled_hours: Positive = variable(
        "CIPPUS_ALERTS_STALLED_HOURS",
        "Age at which a run that has not ended is reported as stalled, in hours.",
        6.0,
        must_be="a number of hours above 0",
        shown="6",
    )


def stalled_hours() -> float:
    """Return the age at which a run that has not ended is reported."""
    return AlertSettings.read().stalled_hours
