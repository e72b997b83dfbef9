"""What starts runs: sensors, schedules, freshness.

Belongs here: looking in bounded steps, and asking for runs.
Not here: what a run does (pipelines/jobs/).
"""
