"""The request governors of a test process: where they are, and their end."""

import shutil
import tempfile
from functools import cache
from pathlib import Path

from resources.s3.governor.process import stop_all
from resources.s3.options import GovernorConfig


@cache
def governor_home() -> Path:
    return Path(tempfile.mkdtemp(prefix="cippus-governors-"))


def governor_config() -> GovernorConfig:
    return GovernorConfig(home=str(governor_home()))


def stop_governors() -> None:
    stop_all(governor_home())
    shutil.rmtree(governor_home(), ignore_errors=True)
    governor_home.cache_clear()
