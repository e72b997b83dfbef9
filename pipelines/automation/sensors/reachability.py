"""Skip a sensor's tick while a service that it reads cannot be reached."""

from collections.abc import Callable
from functools import wraps
from typing import Any

from botocore.exceptions import ConnectionError as S3ConnectionError
from botocore.exceptions import HTTPClientError
from dagster import SensorResult, SkipReason

from resources.local_stack import StackNotUpError
from resources.s3.governor.process import GovernorGoneError, GovernorStartError
from resources.sources.postgres_errors import SourceUnavailableError

UNREACHABLE = (
    *(StackNotUpError, GovernorStartError, GovernorGoneError, SourceUnavailableError),
    *(S3ConnectionError, HTTPClientError),
)

_Tick = Callable[..., SensorResult | SkipReason]


def skipped_while_unreachable(tick: _Tick) -> _Tick:
    """Return the tick; on an error of UNREACHABLE, it skips with the error's first line and keeps its cursor."""

    @wraps(tick)
    def quiet(*arguments: Any, **named: Any) -> SensorResult | SkipReason:
        try:
            return tick(*arguments, **named)
        except UNREACHABLE as error:
            return SkipReason(str(error).splitlines()[0] if str(error) else "A service cannot be reached.")

    return quiet
