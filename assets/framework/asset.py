"""The asset decorator: declares an asset by its table, reports its metrics, retries after transient failures only."""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from functools import wraps
from inspect import signature
from typing import Any

import dagster
from dagster import (
    AssetExecutionContext,
    AssetsDefinition,
    Backoff,
    Failure,
    Jitter,
    MaterializeResult,
    RetryPolicy,
)

from assets.framework.description import described
from assets.framework.incremental import RunMetrics
from assets.framework.logs import structured_logs
from assets.framework.reporting import reported
from assets.partitions import ALL_IN_ONE_RUN, BUCKETS
from resources.delta.table import LakeResource, TableSpec
from resources.disk import full_disk
from resources.errors import is_transient
from resources.plain_text import plain_lines
from resources.s3 import usage as s3_usage
from resources.settings import Environment, environment, home

_Body = Callable[..., RunMetrics]
RETRIES = RetryPolicy(max_retries=3, delay=2, backoff=Backoff.EXPONENTIAL, jitter=Jitter.PLUS_MINUS)
"""Retry after 2, 6 and 14 seconds, each with a jitter of up to 2 seconds more or less. Clients have retries of their
own; these are for failures that last longer, such as a database that fails over."""


class Failed(Failure):
    """A failed step. Python prints no module before a builtin class, so the event reads `Failed: ` and the sentence."""


Failed.__module__ = "builtins"


def asset(
    *,
    table: TableSpec | None = None,
    code_version: str = "1",
    retry_policy: RetryPolicy = RETRIES,
    **settings: Any,
) -> Callable[[_Body], AssetsDefinition]:
    """Declare an asset like `dagster.asset`. The body takes the context first and returns the metrics of its run.

    An asset that is a ``table`` has the table's name, buckets, and columns for the UI. Its description and those of the
    columns are also in the table's metadata, for other engines. Its group is the first part of its key.
    ``code_version`` names the rule that computes it.

    A transient failure is retried by the policy. Any other failure stops at once. If the governor ends, the error is
    GovernorGoneError instead of the client's.

    The pool of an asset without buckets has the asset's name, so that of all runs, also those of the UI, one at a time
    writes it. Buckets are written by many runs at a time; runs of one bucket wait for each other by a tag.
    """
    if table is not None:
        settings = _of_table(table) | settings
    settings.setdefault("group_name", settings["key"][0])
    if settings.get("partitions_def") is None:
        settings.setdefault("pool", "/".join(settings["key"]))

    def declare(body: _Body) -> AssetsDefinition:
        @wraps(body)
        def measured(context: AssetExecutionContext, *arguments: Any, **named: Any) -> MaterializeResult[None]:
            with (
                structured_logs(context),
                stopping_unless_transient(
                    getattr(context, "retry_number", 0),  # a context that was built by hand has none
                    retry_policy.max_retries,
                ),
                s3_usage.measured() as usage,
                _describing(named.get("lake"), table, settings.get("description", "")),
            ):
                metrics = body(context, *arguments, **named)
            return reported(context, metrics, table, usage)

        # Dagster reads the arguments and the result from it, and the body has another result.
        measured.__signature__ = signature(body).replace(return_annotation=MaterializeResult)  # type: ignore[attr-defined]
        measured.__annotations__ = {**body.__annotations__, "return": MaterializeResult}
        definition = dagster.asset(retry_policy=retry_policy, code_version=code_version, **settings)(measured)
        return described(definition, table, body)

    return declare


def _describing(lake: Any, table: TableSpec | None, description: str) -> AbstractContextManager[None]:
    has_table = table is not None and isinstance(lake, LakeResource)
    return lake.describing(table, description) if has_table else nullcontext()


def _of_table(table: TableSpec) -> dict[str, Any]:
    buckets = {"partitions_def": BUCKETS, "backfill_policy": ALL_IN_ONE_RUN} if table.partitioned else {}
    return {"key": table.name.split("/"), **buckets}


@contextmanager
def stopping_unless_transient(retry_number: int, retries: int = RETRIES.max_retries) -> Iterator[None]:
    """Raise Failed with the error's sentence, which is retried only if the error is transient and attempts are left.

    Without it Dagster retries every error, and its event of the last attempt names the number of attempts instead of
    the cause. On a full disk the servers of the embedded stack fail in many ways, which all mean that.
    """
    try:
        yield
    except Exception as error:
        full = None if environment() is Environment.PRODUCTION else full_disk(home())
        sentence = plain_lines(str(full or error)) or type(error).__name__
        dagster.get_dagster_logger().error(sentence)
        may_retry = full is None and is_transient(error) and retry_number < retries
        raise Failed(description=sentence, allow_retries=may_retry) from error
