"""The asset decorator: S3 traffic in the metadata of every asset, and retries after transient failures only."""

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

from resources.disk import full_disk
from resources.errors import is_transient
from resources.s3 import usage as s3_usage
from resources.s3.usage import PrefixUsage, Usage
from resources.settings import Environment, environment, home

_Body = Callable[..., MaterializeResult[None]]
RETRIES = RetryPolicy(max_retries=3, delay=2, backoff=Backoff.EXPONENTIAL, jitter=Jitter.PLUS_MINUS)
"""Retry after 2, 6 and 14 seconds, each with a jitter of up to 2 seconds more or less. Clients have retries of their
own; these are for failures that last longer, such as a database that fails over."""


def asset(*, retry_policy: RetryPolicy = RETRIES, **settings: Any) -> Callable[[_Body], AssetsDefinition]:
    """Declare an asset like `dagster.asset`, with the body's S3 requests in the materialization's metadata.

    A transient failure is retried by the policy. Any other failure stops at once. If the governor ends, the error is
    GovernorGoneError instead of the client's.

    The pool of an asset without buckets has the asset's name, so that of all runs, also those of the UI, one at a time
    writes it. Buckets are written by many runs at a time; runs of one bucket wait for each other by a tag.
    """
    if settings.get("partitions_def") is None:
        settings.setdefault("pool", "/".join(settings["key"]))

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
    """Raise a Failure without retries for any error that is not transient. Dagster retries every other error.

    Log the error's sentence alone: in Dagster's own event it stands behind class names and a stack trace. On a full
    disk the servers of the embedded stack fail in many ways, which all mean that.
    """
    try:
        yield
    except Exception as error:
        full = None if environment() is Environment.PRODUCTION else full_disk(home())
        sentence = str(full or error) or type(error).__name__
        dagster.get_dagster_logger().error(sentence)
        if full is not None:
            raise Failure(description=sentence, allow_retries=False) from error
        if is_transient(error):
            raise
        raise Failure(description=sentence, allow_retries=False) from error


def s3_metadata(usage: Usage) -> dict[str, Any]:
    """Return totals as numbers, and a table by prefix and verb; without a governor, only its state."""
    if not usage.is_governed or not usage.is_known:
        return {"s3_governor": "off" if not usage.is_governed else "gone"}
    return {
        "s3_requests": int(usage.total("requests")),
        "s3_throttled": int(usage.total("throttled")),
        "s3_wasted_percent": usage.wasted_percent,
        "s3_waited_seconds": round(usage.total("waited_seconds"), 3),
        "s3_given_up": int(usage.total("given_up")),
        **({"s3_prefixes": MetadataValue.table([*map(_record, usage.prefixes)])} if usage.prefixes else {}),
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
