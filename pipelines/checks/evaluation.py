"""Evaluate checks: read the buckets that changed since they passed, and hold back those that failed."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from inspect import Parameter, Signature
from typing import Any

from dagster import (
    AssetCheckEvaluation,
    AssetCheckExecutionContext,
    AssetCheckResult,
    AssetChecksDefinition,
    AssetCheckSeverity,
    AssetKey,
    Output,
    multi_asset_check,
)

from assets.framework.incremental import Stage
from assets.framework.verdicts import Held, Passed
from assets.partitions import BUCKETS
from assets.stages import TABLES
from pipelines.checks.declaration import Answer, Check
from resources.delta.state import Entry, LedgerResource
from resources.delta.table import WHOLE, LakeResource, TableSpec, fingerprint
from resources.plain_text import plain

READ_EVERYTHING = "cippus/checks"
"""Run tag of a run whose checks read everything, changed or not."""
_RANGE = "dagster/asset_partition_range_start", "dagster/asset_partition_range_end"
_PARTITION = "dagster/partition"
_SPECS = {spec.name: spec for spec in TABLES}


@dataclass
class Verdict:
    """What a check found. ``bad`` are the buckets with problems; ``answer`` is the promise's own result."""

    found: int = 0
    bad: list[int] = field(default_factory=list)
    metadata: dict[str, Any] = field(default_factory=dict)
    answer: AssetCheckResult | None = None
    is_partial: bool = False
    """Whether other buckets of the run are good, so that they go on."""


def definition(asset: str, checks: Sequence[Check], suffix: str) -> AssetChecksDefinition:
    """Return the checks of an asset as one step, which evaluates those that are selected."""

    def evaluate(context: AssetCheckExecutionContext, **resources: Any) -> Iterator[Any]:
        selected, errors = {key.name for key in context.selected_asset_check_keys}, list[Exception]()
        resources["instance"] = context.instance
        passed, buckets = Passed(resources["ledger"], asset), buckets_of(context.run.tags)
        with resources["lake"].steady():
            for check in checks:
                if check.name not in selected:
                    continue
                try:
                    verdict = judge(check, resources, buckets, _reads_everything(context), passed)
                except Exception as error:
                    context.log.error("%s: %s", check.name, error)
                    errors.append(error)
                    continue
                yield from _events(context, check, verdict)
        if errors:
            raise errors[0]

    asked = {name: parameter for check in checks for name, parameter in check.resources.items()}
    asked |= {name: _resource(name, kind) for name, kind in (("lake", LakeResource), ("ledger", LedgerResource))}
    context = Parameter("context", Parameter.POSITIONAL_OR_KEYWORD, annotation=AssetCheckExecutionContext)
    named = [parameter.replace(kind=Parameter.KEYWORD_ONLY) for parameter in asked.values()]
    evaluate.__signature__ = Signature([context, *named])  # type: ignore[attr-defined]  # Dagster reads the resources
    name = f"{asset.replace('/', '__')}__{suffix}"
    made: AssetChecksDefinition = multi_asset_check(name=name, specs=[check.spec for check in checks], can_subset=True)(
        evaluate
    )
    return made


def _events(context: AssetCheckExecutionContext, check: Check, verdict: Verdict | None) -> Iterator[Any]:
    """Yield what Dagster records. A step downstream waits for the output, which a result brings itself."""
    event = evaluation(check, verdict) if verdict else None
    if event is None:
        context.log.info("%s: there is nothing to check.", check.name)
    if not isinstance(event, AssetCheckResult):
        yield Output(None, output_name=check.spec.get_python_identifier())
    if event is not None:
        yield event


def _resource(name: str, kind: type) -> Parameter:
    return Parameter(name, Parameter.KEYWORD_ONLY, annotation=kind)


def _reads_everything(context: AssetCheckExecutionContext) -> bool:
    return READ_EVERYTHING in context.run.tags


def buckets_of(tags: Mapping[str, str]) -> list[int]:
    """Return the buckets of a run, by its tags; all of them for a run without partitions."""
    if _PARTITION in tags:
        return [int(tags[_PARTITION])]
    first, last = (tags.get(name) for name in _RANGE)
    if first is not None and last is not None:
        return list(range(int(first), int(last) + 1))
    return [int(key) for key in BUCKETS.get_partition_keys()]


def judge(
    check: Check,
    resources: Mapping[str, Any],
    run_buckets: Sequence[int],
    reads_everything: bool = True,
    passed: Passed | None = None,
) -> Verdict | None:
    """Return what a check finds in some buckets; None if there is nothing that it could look at.

    A bucket that is unchanged since it passed is not read, unless ``reads_everything``. A bucket whose asset lags
    behind its inputs is not compared: the asset's next run computes it. ``passed``: the asset's earlier passes, if the
    caller has them.
    """
    lake, ledger = resources["lake"], resources["ledger"]
    buckets = [*run_buckets] if check.by_bucket else [WHOLE]
    if not check.reads:
        return _answered(check, check.call(check.promise, resources))
    present = _present(check, lake, buckets)
    prints = _fingerprints(check, resources, present)
    passed = passed or Passed(ledger, check.asset)
    before = passed.read(check.name)
    unchanged = [bucket for bucket in present if prints[bucket] in before.get(bucket, ())]
    due = present if reads_everything else [bucket for bucket in present if bucket not in unchanged]
    behind = _behind(check, resources, due)
    looked = [bucket for bucket in due if bucket not in behind]
    if not looked and not (unchanged and not reads_everything):
        return None
    verdict = _counted(check, resources, looked)
    if verdict is None:
        return None
    verdict.is_partial = check.guards and 0 < len(verdict.bad) < len(present) and check.asset in _SPECS
    good = {bucket: prints[bucket] for bucket in looked if bucket not in verdict.bad}
    passed.replace(check.name, before, {} if verdict.answer and not verdict.answer.passed else good)
    if check.guards and check.asset in _SPECS and looked:
        Held(lake, ledger).replace(_SPECS[check.asset], check.name, looked, verdict.bad)
    if check.by_bucket:
        verdict.metadata |= {"buckets_read": len(looked), "buckets_unchanged": len(present) - len(due)}
        verdict.metadata |= {"buckets_behind": len(behind)} if behind else {}
    return verdict


def _present(check: Check, lake: LakeResource, buckets: Sequence[int]) -> list[int]:
    """Return the buckets in which one of the tables that a check reads has rows."""
    if not check.by_bucket:
        return [*buckets] if any(lake.contents(spec) for spec in check.reads) else []
    held = set[int]().union(*(lake.contents(spec) for spec in check.reads if spec.partitioned))
    return [bucket for bucket in buckets if bucket in held]


def _fingerprints(check: Check, resources: Mapping[str, Any], buckets: Sequence[int]) -> dict[int, str]:
    """Return bucket → fingerprint of all that decides the answer there."""
    stage = Stage(check.name, check.reads, partitioned=check.by_bucket)
    inputs = stage.input_fingerprints(resources["lake"], buckets)
    if check.version is None:
        return inputs
    return {
        bucket: fingerprint([inputs[bucket], check.call(check.version, resources, bucket=bucket)]) for bucket in buckets
    }


def _behind(check: Check, resources: Mapping[str, Any], buckets: Sequence[int]) -> set[int]:
    """Return the buckets whose asset was computed from other inputs than the current ones, or not at all."""
    own = _SPECS.get(check.asset)
    if not buckets or check.reads == (own,) or (own is None and check.ledger_name is None):
        return set()
    lake, ledger = resources["lake"], resources["ledger"]
    name = check.call(check.ledger_name, resources) if check.ledger_name else check.asset
    is_whole = not check.by_bucket or (own is not None and not own.partitioned)
    places = {bucket: WHOLE if is_whole else bucket for bucket in buckets}
    entries, rows = ledger.entries(name, sorted(set(places.values()))), lake.contents(own) if own is not None else {}
    if any(_lags_somewhere(lake, ledger, spec) for spec in check.via):
        return set(buckets)
    return {bucket for bucket, place in places.items() if _lags(lake, entries.get(place), place, place in rows)}


def _lags_somewhere(lake: LakeResource, ledger: LedgerResource, spec: TableSpec) -> bool:
    entries = ledger.entries(spec.name, sorted(lake.contents(spec)))
    return any(is_outdated(lake, entry, bucket) for bucket, entry in entries.items())


def _lags(lake: LakeResource, entry: Entry | None, place: int, has_rows: bool) -> bool:
    return not has_rows if entry is None else is_outdated(lake, entry, place)


def is_outdated(lake: LakeResource, entry: Entry, place: int) -> bool:
    """Return whether a table that a ledger entry was computed from has changed since."""
    specs = tuple(_SPECS[table] for table in entry.read if table in _SPECS)
    return Stage("", specs, partitioned=place != WHOLE).read(lake, place) != {
        spec.name: entry.read[spec.name] for spec in specs
    }


def _counted(check: Check, resources: Mapping[str, Any], buckets: Sequence[int]) -> Verdict | None:
    total = Verdict()
    for bucket in buckets:
        verdict = _answered(check, check.call(check.promise, resources, **_of(check, bucket)))
        if verdict is None:
            return None
        total.found += verdict.found
        total.bad += [bucket] if verdict.found else []
        total.answer = verdict.answer or total.answer
        for name, value in verdict.metadata.items():
            is_sum = check.by_bucket and isinstance(value, int | float)
            total.metadata[name] = value + total.metadata.get(name, 0) if is_sum else value
    return total


def _of(check: Check, bucket: int) -> dict[str, int]:
    return {"bucket": bucket} if check.by_bucket else {}


def _answered(check: Check, answer: Answer) -> Verdict | None:
    if answer is None:
        return None
    if isinstance(answer, AssetCheckResult):
        return Verdict(answer=answer)
    found, metadata = answer if isinstance(answer, tuple) else (answer, dict[str, Any]())
    return Verdict(found, metadata=dict(metadata))


def evaluation(check: Check, verdict: Verdict) -> AssetCheckResult | AssetCheckEvaluation:
    """Return the event for Dagster. Where only some buckets are bad, it does not stop the run: they are held back."""
    key, answer = AssetKey(check.asset.split("/")), verdict.answer
    if answer is not None:
        return AssetCheckResult(
            passed=answer.passed,
            asset_key=key,
            check_name=check.name,
            severity=answer.severity,
            description=plain(answer.description),
            metadata=answer.metadata,
        )
    where = f" Buckets: {', '.join(map(str, verdict.bad))}." if check.by_bucket and verdict.bad else ""
    description = f"{verdict.found:,} {check.problem}.{where}" if verdict.found else f"No {check.problem}."
    metadata = {"found": verdict.found, **verdict.metadata}
    if verdict.is_partial:
        return AssetCheckEvaluation(
            asset_key=key,
            check_name=check.name,
            passed=False,
            severity=AssetCheckSeverity.ERROR,
            description=f"{description} They are held back, and the other buckets go on.",
            metadata=metadata,
            blocking=False,
        )
    return AssetCheckResult(
        passed=not verdict.found,
        asset_key=key,
        check_name=check.name,
        severity=AssetCheckSeverity.WARN if check.advises else AssetCheckSeverity.ERROR,
        description=description,
        metadata=metadata,
    )
