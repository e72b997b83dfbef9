"""What checks of dropped files have in common: a table has the rows of the files that are there, once."""

from collections.abc import Sequence

import polars as pl

from assets.transforms.source.arrivals import outstanding
from pipelines.checks.declaration import count
from resources.delta.state import LedgerResource
from resources.delta.table import LakeResource, TableSpec
from resources.s3.client import S3Object


def not_taken_once(
    lake: LakeResource, ledger: LedgerResource, spec: TableSpec, listed: Sequence[S3Object], rule: str
) -> int:
    """Return the number of files that are not taken in or no longer there, and of rows repeated or of no file."""
    fresh, gone = outstanding(listed, ledger.taken(spec.name), rule)
    schema = {"source_file": pl.String, "source_etag": pl.String}
    versions = pl.LazyFrame([(item.key, item.etag) for item in listed], schema=schema, orient="row")
    foreign = lake.scan(spec).join(versions, on=list(schema), how="anti")
    repeated = lake.scan(spec).filter(pl.struct(spec.key).is_duplicated())
    return len(fresh) + len(gone) + count(foreign) + count(repeated)
