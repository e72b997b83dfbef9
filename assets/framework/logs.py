"""Structured logs: a JSON line on stderr for each message of a step, with its run, asset and bucket."""

import json
import logging
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from datetime import UTC, datetime

from dagster import AssetExecutionContext

from resources.settings import LogFormat, log_format

_bucket: ContextVar[int | None] = ContextVar("bucket", default=None)


@contextmanager
def logging_bucket(bucket: int) -> Iterator[None]:
    """Name the bucket in the structured logs of this thread."""
    token = _bucket.set(bucket)
    try:
        yield
    finally:
        _bucket.reset(token)


@contextmanager
def structured_logs(context: AssetExecutionContext) -> Iterator[None]:
    """Write the messages of a step as JSON lines too, if `CIPPUS_LOG_FORMAT` is json. Dagster's own lines stay."""
    if log_format() is not LogFormat.JSON:
        yield
        return
    keys = context.partition_keys if context.assets_def.partitions_def else []
    handler = logging.StreamHandler()
    handler.setFormatter(
        _JsonLine(
            run_id=context.run.run_id,
            job=context.run.job_name,
            asset=context.asset_key.to_user_string(),
            bucket=int(keys[0]) if len(keys) == 1 else None,
            attempt=context.retry_number + 1,
        )
    )
    log = context.log
    log.addHandler(handler)
    try:
        yield
    finally:
        log.removeHandler(handler)


class _JsonLine(logging.Formatter):
    """Formats a message with the fields of its step. The bucket is that of the thread, else the run's only one."""

    def __init__(self, **step: str | int | None) -> None:
        super().__init__()
        self._step = step

    def format(self, record: logging.LogRecord) -> str:
        """Return one line of JSON."""
        of_dagster = getattr(record, "dagster_meta", {})  # without the run and the step that Dagster puts before it
        line = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(),
            "level": record.levelname,
            "message": of_dagster.get("orig_message") or record.getMessage(),
            **self._step,
        }
        if (bucket := _bucket.get()) is not None:
            line["bucket"] = bucket
        if record.exc_info:
            line["exception"] = self.formatException(record.exc_info)
        return json.dumps(line, ensure_ascii=False)
