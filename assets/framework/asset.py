"""What every asset of the lineage has beside its own: figures of its S3 traffic, and repetition where it may help."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import wraps
from typing import Any

import dagster
from dagster import (
    AssetsDefinition,
    Backoff,
    Failure,
    Jitter,
    MaterializeResult,
    MetadataValue,
    RetryPolicy,
    TableRecord,
)

from resources.errors import is_transient
from resources.s3 import usage as s3_usage
from resources.s3.usage import PrefixUsage, Usage

_Body = Callable[..., MaterializeResult[None]]
RETRIES = RetryPolicy(max_retries=3, delay=2, backoff=Backoff.EXPONENTIAL, jitter=Jitter.PLUS_MINUS)
"""After a transient failure: up to 2, 4 and 8 seconds later. Clients' own repetitions come first; this is for what they
give up on, such as a database that fails over."""


def asset(*, retry_policy: RetryPolicy = RETRIES, **settings: Any) -> Callable[[_Body], AssetsDefinition]:
    """`dagster.asset`, with the requests that the body made to S3 in the materialization's metadata.

    A transient failure is repeated by the policy. Any other stops at once, as a Failure that says what to do.
    GovernorGoneError takes the place of whatever error a client makes of it when the governor ends.
    """

    def declare(body: _Body) -> AssetsDefinition:
        @wraps(body)
        def measured(*arguments: Any, **named: Any) -> MaterializeResult[None]:
            with stopping_unless_transient(), s3_usage.measured() as usage:
                result = body(*arguments, **named)
            return result._replace(metadata={**(result.metadata or {}), **s3_metadata(usage)})

        made: AssetsDefinition = dagster.asset(retry_policy=retry_policy, **settings)(measured)
        return made

    return declare


@contextmanager
def stopping_unless_transient() -> Iterator[None]:
    """Dagster repeats a step after any error; this makes all but transient ones such that it does not."""
    try:
        yield
    except Exception as error:
        if is_transient(error):
            raise
        raise Failure(description=str(error) or type(error).__name__, allow_retries=False) from error


def s3_metadata(usage: Usage) -> dict[str, Any]:
    """Totals as numbers, and a table by prefix and verb. Without a governor that counts, only that there is none."""
    if not usage.is_governed or not usage.is_known:
        return {"s3_governor": "off" if not usage.is_governed else "gone"}
    return {
        "s3_requests": int(usage.total("requests")),
        "s3_throttled": int(usage.total("throttled")),
        "s3_wasted_percent": usage.wasted_percent,
        "s3_waited_seconds": round(usage.total("waited_seconds"), 3),
        "s3_given_up": int(usage.total("given_up")),
        **(
            {"s3_prefixes": MetadataValue.table([_record(found) for found in usage.prefixes])} if usage.prefixes else {}
        ),
    }


def _record(found: PrefixUsage) -> TableRecord:
    return TableRecord(
        {
            "prefix": f"{found.bucket}/{found.prefix}",
            "verb": found.verb,
            "requests": found.requests,
            "throttled": found.throttled,
            "wasted_percent": found.wasted_percent,
            "rate_per_second": found.rate,
            "waited_seconds": found.waited_seconds,
            "given_up": found.given_up,
            "slowest_seconds": found.slowest_seconds,
            "slowest_request": found.slowest,
        }
    )
