"""Keep learned limits over restarts."""

import json
import logging
import time
from pathlib import Path

from resources.s3.governor.request_scheduler import RequestScheduler

EVERY_SECONDS = 10.0
_log = logging.getLogger("cippus.s3_governor")


class LearnedLimits:
    """The learned limits of one scheduler, in a file that is replaced atomically."""

    def __init__(self, path: Path, scheduler: RequestScheduler) -> None:
        self._path = path
        self._scheduler = scheduler

    def restore(self) -> None:
        """Restore the limits of the last governor; log a file that cannot be read, and start without."""
        try:
            self._scheduler.restore(json.loads(self._path.read_text()), time.monotonic(), time.time())
        except FileNotFoundError:
            return
        except (OSError, ValueError, RecursionError) as error:
            _log.warning("%s cannot be read, so limits are learned anew: %s", self._path, error)

    def save(self) -> None:
        """Write the present limits; log a failure, because limits can be learned again."""
        try:
            temporary = self._path.with_suffix(".tmp")
            temporary.write_text(json.dumps(self._scheduler.to_json(time.monotonic(), time.time())))
            temporary.replace(self._path)
        except OSError as error:
            _log.warning("%s cannot be written: %s", self._path, error)
