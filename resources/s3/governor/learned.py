"""What was learned about limits, over restarts."""

import json
import logging
import time
from pathlib import Path

from resources.s3.governor.request_scheduler import RequestScheduler

EVERY_SECONDS = 10.0
_log = logging.getLogger("cippus.s3_governor")


class LearnedLimits:
    """The learned limits of one scheduler, in a file that is written whole or not at all."""

    def __init__(self, path: Path, scheduler: RequestScheduler) -> None:
        self._path = path
        self._scheduler = scheduler

    def restore(self) -> None:
        """Take up what the last governor learned; a file that cannot be read is left, and said so."""
        try:
            self._scheduler.restore(json.loads(self._path.read_text()), time.monotonic(), time.time())
        except FileNotFoundError:
            return
        except (OSError, ValueError, TypeError, KeyError, RecursionError) as error:
            _log.warning("%s cannot be used, so limits are learned anew: %s", self._path, error)

    def save(self) -> None:
        """Write what is known now. A failure is logged: limits can be learned again."""
        try:
            text = json.dumps(self._scheduler.to_json(time.monotonic(), time.time()))
            temporary = self._path.with_suffix(".tmp")
            temporary.write_text(text)
            temporary.replace(self._path)
        except OSError as error:
            _log.warning("%s cannot be written: %s", self._path, error)
