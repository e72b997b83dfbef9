"""Sensors and schedules, which start runs, and freshness policies.

Belongs here: finding changes in bounded steps, and requesting runs.
Not here: what a run does (pipelines/jobs/).
"""
