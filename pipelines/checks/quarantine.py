"""Checks of quarantine/rows."""

import polars as pl

from assets.quarantine import QUARANTINE
from pipelines.checks import check, count
from resources.delta.table import LakeResource
from resources.raw.quarantine import QuarantineResource


@check("quarantine/rows", "landed rejects missing from the table")
def rejects_recorded(lake: LakeResource, quarantine: QuarantineResource) -> int:
    """Every rejected row that was extracted is in the quarantine table."""
    landed = pl.concat([QUARANTINE.empty().drop("copies"), *quarantine.rows()]).lazy()
    expected = landed.group_by(QUARANTINE.key).agg(copies=pl.len().cast(pl.Int64))
    on = [*QUARANTINE.key, "copies"]
    return count(expected.join(lake.scan(QUARANTINE), on=on, how="anti", nulls_equal=True))
