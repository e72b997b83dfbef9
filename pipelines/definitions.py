"""Start here: the Dagster definitions. `assets/stages.py` lists the stages in lineage order."""

from dagster import Definitions, in_process_executor

from assets.stages import ASSETS
from pipelines.automation.freshness import with_freshness
from pipelines.automation.schedules import SCHEDULES
from pipelines.automation.sensors import SENSORS
from pipelines.checks.catalogue import definitions as check_definitions
from pipelines.jobs.asset_jobs import JOBS, OP_JOBS
from resources.wiring import resources

defs = Definitions(
    assets=with_freshness(ASSETS),
    asset_checks=check_definitions(),
    jobs=[*JOBS, *OP_JOBS],
    schedules=SCHEDULES,
    sensors=SENSORS,
    resources=resources()._asdict(),
    # A run is one process everywhere: the embedded index allows one, and a pod for each step costs seconds of imports.
    executor=in_process_executor,
)
