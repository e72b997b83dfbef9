"""The imports of a run, for processes that fork."""

import gc

from dagster import DagsterInstance, job

from tests.worlds.service_descriptions import parse_service_descriptions_once


@job
def _nothing() -> None: ...


def preload() -> None:
    """Import what a run imports late, such as Dagster's storages. It takes three seconds."""
    import s3fs  # noqa: F401

    parse_service_descriptions_once()
    with DagsterInstance.ephemeral() as instance:
        _nothing.execute_in_process(instance=instance)
    gc.freeze()  # forks do not search, and so copy, what all of them share
