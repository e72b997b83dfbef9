"""Sensors that start runs when data arrives, and one that alerts people. They are off until somebody turns them on."""

from pipelines.automation.sensors.alerts import alerts
from pipelines.automation.sensors.batches import ended_batches
from pipelines.automation.sensors.buckets import changed_buckets
from pipelines.automation.sensors.drops import audience_drops, judgement_drops, label_drops, quarantine_drops
from pipelines.automation.sensors.exports import rds_exports

SENSORS = [
    *(rds_exports, label_drops, judgement_drops, audience_drops, quarantine_drops),
    *(changed_buckets, ended_batches, alerts),
]
