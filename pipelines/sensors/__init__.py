"""What starts runs by itself when data arrives. Off until somebody turns it on.

Belongs here: looking, in steps of bounded work, and asking for runs. Not here: what a run does (pipelines/jobs.py),
what runs by the clock (pipelines/schedules.py).
"""

from pipelines.sensors.buckets import changed_buckets
from pipelines.sensors.drops import audience_drops, label_drops
from pipelines.sensors.exports import rds_exports

SENSORS = [rds_exports, label_drops, audience_drops, changed_buckets]
