"""A sensor's tick while what it looks at cannot be reached: skipped with one sentence, and repeated by the next tick.

Belongs here: which errors mean that. Not here: errors that somebody has to mend (a permission, a missing bucket): those
fail the tick.
"""

from collections.abc import Callable
from functools import wraps
from typing import Any

from botocore.exceptions import ConnectionError as S3ConnectionError
from botocore.exceptions import HTTPClientError
from dagster import SensorResult, SkipReason

from resources.embedded import StackNotUpError
from resources.governor_process import GovernorGoneError, GovernorStartError
from resources.postgres_errors import SourceUnavailableError

UNREACHABLE = (
    *(StackNotUpError, GovernorStartError, GovernorGoneError, SourceUnavailableError),
    *(S3ConnectionError, HTTPClientError),
)

_Tick = Callable[..., SensorResult | SkipReason]


def skipped_while_unreachable(tick: _Tick) -> _Tick:
    """The tick, whose cursor stays as it was where one of UNREACHABLE is raised."""

    @wraps(tick)
    def quiet(*arguments: Any, **named: Any) -> SensorResult | SkipReason:
        try:
            return tick(*arguments, **named)
        except UNREACHABLE as error:
            return SkipReason(str(error).splitlines()[0] if str(error) else type(error).__name__)

    return quiet
