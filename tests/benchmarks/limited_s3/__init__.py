"""An S3 server in memory that behaves like S3 under limits: SlowDown per prefix and verb, 500s, resets, slow answers.

Belongs here: the server that benchmarks and tests limit themselves with. It is loopback only and keeps nothing.
"""

from tests.benchmarks.limited_s3.process import LimitedS3Error, RunningServer, running
from tests.benchmarks.limited_s3.settings import Faults, Limits, Settings

__all__ = ["Faults", "LimitedS3Error", "Limits", "RunningServer", "Settings", "running"]
