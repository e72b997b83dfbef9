"""Keep learned limits over restarts, in a file that is replaced in one step."""

import asyncio
import json
import logging
import time
from pathlib import Path

from resources.local_stack import write_private
from resources.s3.governor.request_scheduler import RequestScheduler

EVERY_SECONDS = 10.0
_log = logging.getLogger("cippus.s3_governor")


def restore_limits(path: Path, scheduler: RequestScheduler) -> None:
    """Restore the limits of the last governor; log a file that cannot be read, and start without."""
    try:
        scheduler.restore(json.loads(path.read_text()), time.monotonic(), time.time())
    except FileNotFoundError:
        return
    except (OSError, ValueError, RecursionError) as error:
        _log.warning("%s cannot be read, so limits are learned anew: %s", path, error)


def save_limits(path: Path, scheduler: RequestScheduler) -> None:
    """Write the present limits; log a failure, because limits can be learned again."""
    try:
        write_private(path, json.dumps(scheduler.to_json(time.monotonic(), time.time())))
    except OSError as error:
        _log.warning("%s cannot be written: %s", path, error)


async def save_limits_regularly(path: Path, scheduler: RequestScheduler) -> None:
    """Write the present limits until cancelled."""
    while True:
        await asyncio.sleep(EVERY_SECONDS)
        save_limits(path, scheduler)
