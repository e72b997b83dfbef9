"""Asset jobs, lake maintenance, reconciliation of keys.

Belongs here: what a run selects.
Not here: when it runs (pipelines/automation/).
"""
