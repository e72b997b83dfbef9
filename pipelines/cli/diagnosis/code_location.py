"""The code location: whether the definitions load, as the UI and every run load them."""

from collections.abc import Iterator, Mapping
from functools import lru_cache
from importlib import import_module

from dagster import Definitions, RepositoryDefinition, ScheduleDefinition, SensorDefinition

from pipelines.cli.diagnosis.registry import Finding, Parts, Status, diagnosis
from resources.errors import CippusError, PermanentFailure

MODULE = "pipelines.definitions"
_FIX = "Correct it; `dg check defs` shows where."


class BrokenDefinitionsError(PermanentFailure):
    """The definitions do not load."""


@lru_cache(maxsize=1)
def repository() -> RepositoryDefinition:
    """Return the resolved definitions. Raise BrokenDefinitionsError."""
    try:
        defs = import_module(MODULE).defs
        Definitions.validate_loadable(defs)
        found: RepositoryDefinition = defs.get_repository_def()
    except CippusError:
        raise
    except Exception as error:
        reason = (str(error).strip().splitlines() or ["no message"])[0]
        raise BrokenDefinitionsError(f"{MODULE} does not load: {type(error).__name__}: {reason}") from error
    return found


def automation() -> Mapping[str, ScheduleDefinition | SensorDefinition]:
    """Return the schedules and sensors by name. Raise BrokenDefinitionsError."""
    found = repository()
    return {**{each.name: each for each in found.schedule_defs}, **{each.name: each for each in found.sensor_defs}}


@diagnosis("code location", _FIX, Status.WARNING)
def loads(_parts: Parts) -> Iterator[Finding]:
    """Test that the definitions load."""
    found = repository()
    checks, jobs = len(found.asset_graph.asset_check_keys), len(found.job_names)
    yield Finding.ok(f"{MODULE} loads: {checks} checks, {jobs} jobs, {len(found.sensor_defs)} sensors.")
