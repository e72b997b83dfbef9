"""What a run of a world's lineage did."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from dagster import ExecuteInProcessResult, MetadataValue

from assets.framework.reporting import run_totals


@dataclass(frozen=True)
class Report:
    """One run: whether it succeeded, asset key → metadata of its last materialization, the innermost errors."""

    success: bool
    assets: Mapping[str, Mapping[str, Any]]
    errors: Sequence[str]

    def counts(self, asset: str) -> Mapping[str, Any]:
        return self.assets[asset]

    @classmethod
    def of(cls, result: ExecuteInProcessResult) -> "Report":
        failures = [event.step_failure_data.error for event in result.get_step_failure_events()]
        failures += [event.job_failure_data.error for event in result.all_events if event.is_job_failure]
        return cls(result.success, values(run_totals(result)), [str(error) for error in failures])


def values(totals: Mapping[str, Mapping[str, MetadataValue[Any]]]) -> dict[str, dict[str, Any]]:
    return {key: {name: value.value for name, value in metadata.items()} for key, metadata in totals.items()}
