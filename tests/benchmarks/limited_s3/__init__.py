"""An in-memory S3 server with request limits and faults: SlowDown per prefix and verb, 500s, resets, slow responses.

Belongs here: the server that benches and tests run against. Loopback only; keeps nothing.
"""

from tests.benchmarks.limited_s3.process import LimitedS3Error, RunningServer, running
from tests.benchmarks.limited_s3.settings import Faults, Limits, Settings

__all__ = ["Faults", "LimitedS3Error", "Limits", "RunningServer", "Settings", "running"]
