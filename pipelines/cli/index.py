"""`cippus reconcile` and `cippus rollback`: repair the lake or the collection, or serve the previous generation."""

from enum import StrEnum
from typing import TYPE_CHECKING, Annotated

import typer
from rich.progress import Progress

from pipelines.cli.terminal import Json, err, out, print_json, require_stack, shown
from pipelines.local.run_lock import only_run
from resources.errors import InputError
from resources.settings import home

if TYPE_CHECKING:
    from assets.qdrant.points import PointWriter
    from resources.vectors.generations import Generation
    from resources.vectors.resource import QdrantResource


class Target(StrEnum):
    """What `cippus reconcile` compares."""

    INDEX = "index"
    LAKE = "lake"


def reconcile(
    target: Annotated[
        Target, typer.Argument(help="index: the collection with the lake. lake: the lake with the windows of raw/*.")
    ] = Target.INDEX,
    deep: Annotated[
        bool, typer.Option("--deep", help="Compare payloads and vectors, not only the hashes in the points.")
    ] = False,
    previous: Annotated[
        bool, typer.Option("--previous", help="Also the generation that `cippus rollback` returns to.")
    ] = False,
    rebuild: Annotated[
        bool, typer.Option("--rebuild", help="Fill a new generation from the lake, and serve it instead of a lost one.")
    ] = False,
    as_json: Json = False,
) -> None:
    """Compare what is served with what it was made from, and repair the differences. Embeds nothing."""
    if target is Target.LAKE and (deep or previous or rebuild):
        raise InputError("--deep, --previous and --rebuild are options of `cippus reconcile index`.")
    if rebuild and (deep or previous):
        raise InputError("--rebuild compares nothing, so --deep and --previous cannot be given with it.")
    if target is Target.LAKE:
        _reconcile_lake(as_json)
    elif rebuild:
        _rebuild_index(as_json)
    else:
        _reconcile_index(deep=deep, previous=previous, as_json=as_json)


def _reconcile_lake(as_json: bool) -> None:
    from assets.lake.comparison import LakeComparison
    from assets.transforms.source.schema import SOURCE_TABLES
    from resources.wiring import resources

    require_stack()
    made, found = resources(), []
    with only_run(home()), Progress(console=err, transient=True) as progress:
        for table in progress.track(list(SOURCE_TABLES.values()), description="lake"):
            found.append(LakeComparison(table, made.raw_store, made.lake).repair())
    if as_json:
        tables = [{"table": it.table, "rows": it.rows, **it.problems, "written": it.changes.written} for it in found]
        print_json({"tables": tables})
        return
    for it in found:
        text = f"repaired. {it.said()}" if it.found else "nothing differs from raw/*."
        count = f"{it.found:,} " if it.found else ""
        out.print(shown(f"{it.table}: {it.rows:,} rows, {count}{text}"), highlight=False, soft_wrap=True)


def _reconcile_index(*, deep: bool, previous: bool, as_json: bool) -> None:
    from assets.qdrant import points, reconciliation

    (qdrant, writer), buckets = _index_and_writer(), _buckets()
    index_config, reports = points.index_config_of(writer.model, qdrant.quantization), []
    with only_run(home()), qdrant.generations() as generations, Progress(console=err, transient=True) as progress:
        serving = generations.serving()
        if serving is None:
            raise InputError("No generation is served: run `cippus run`; if one is lost, `cippus reconcile --rebuild`.")
        for generation in filter(None, (serving, generations.previous() if previous else None)):
            if not generation.index_config.has_vectors_of(index_config):
                message = (
                    f"{generation.name} has vectors of {generation.index_config.model}, and this configuration embeds "
                    f"with {index_config.model}: it cannot be compared. Configure its encoder, or run `cippus run`."
                )
                raise InputError(message)
            report = reconciliation.Reconciled(generation.name)
            steps = progress.track(buckets, description=generation.name)
            reconciliation.reconcile(generations.open(generation), writer, steps, report, deep=deep)
            reports.append(report)
    if serving.index_config != index_config:
        served, configured = serving.index_config.quantization, index_config.quantization
        text = f"{serving.name} has quantization {served}; {configured} is configured, and `cippus run` makes it."
        err.print(shown(text), highlight=False, soft_wrap=True)
    if as_json:
        print_json({"serving": serving.name, "reconciled": [found.to_json() for found in reports]})
        return
    for report in reports:
        damage = ", ".join(
            f"{report.damage[kind]:,} {kind.replace('_', ' ')}" for kind in reconciliation.KINDS if report.damage[kind]
        )
        out.print(f"{shown(report.generation)}: {report.points:,} points, {damage or 'no damage'}", highlight=False)


def _rebuild_index(as_json: bool) -> None:
    from assets.qdrant import points, promotion, reconciliation
    from resources.vectors.values import VectorIndexError

    (qdrant, writer), buckets = _index_and_writer(), _buckets()
    index_config = points.index_config_of(writer.model, qdrant.quantization)
    with only_run(home()), qdrant.generations() as generations, Progress(console=err, transient=True) as progress:
        broken = generations.serving()

        def fill(made: "Generation") -> None:
            steps = progress.track(buckets, description=made.name)
            found = reconciliation.Reconciled(made.name)
            reconciliation.reconcile(generations.open(made), writer, steps, found, deep=False)

        made, verdict = promotion.rebuild(generations, index_config, writer, fill, qdrant.replica_problems)
    if not verdict.passed:
        problems = "; ".join(verdict.problems)
        message = f"The new generation is not served: {problems}. What was served before is unchanged."
        raise VectorIndexError(message)
    if as_json:
        print_json({"serving": made.name, "points": verdict.points, "dropped": broken.name if broken else None})
        return
    instead = f" instead of {broken.name}, which is deleted" if broken else ""
    out.print(shown(f"{made.name} is served{instead}: {verdict.points:,} points."), highlight=False, soft_wrap=True)


def rollback(as_json: Json = False) -> None:
    """Serve the previous generation, updated to the lake. Run it again to return."""
    from assets.qdrant import points, reconciliation

    (qdrant, writer), buckets = _index_and_writer(), _buckets()
    with only_run(home()), qdrant.generations() as generations:
        before, previous = generations.serving(), generations.previous()
        # Runs update only the served generation: the previous one still has points that were deleted since.
        index_config = points.index_config_of(writer.model, "none")
        is_current = previous is not None and previous.index_config.has_vectors_of(index_config)
        if previous is not None and is_current:
            report = reconciliation.Reconciled(previous.name)
            reconciliation.reconcile(generations.open(previous), writer, buckets, report, deep=False)
        serving = generations.roll_back()
    replaced, model = before.name if before else "nothing", serving.index_config.model
    if as_json:
        print_json({"serving": serving.name, "instead_of": replaced, "model": model, "current": is_current})
        return
    state = "in line with the lake" if is_current else "as it was when it was last served"
    text = f"{serving.name} is served instead of {replaced}, {state}; its vectors are of {model}."
    out.print(shown(text), highlight=False, soft_wrap=True)


def _buckets() -> list[int]:
    from assets.partitions import BUCKETS

    return [int(key) for key in BUCKETS.get_partition_keys()]


def _index_and_writer() -> "tuple[QdrantResource, PointWriter]":
    """Return the index and its writer. Raise InputError when the stack is not up."""
    from assets.corpus import CHUNKS
    from assets.qdrant.points import PointWriter
    from resources.wiring import resources, with_secrets

    require_stack()
    made = resources()
    if made.lake.open(CHUNKS) is None:
        raise InputError("The lake holds no corpus yet: run `cippus run` first.")
    return with_secrets(made.qdrant), PointWriter(made.lake, with_secrets(made.embedder).model())
