"""`cippus reconcile` and `cippus rollback`: repair the collection, or serve its previous generation."""

from typing import TYPE_CHECKING, Annotated

import typer
from rich.progress import Progress

from pipelines.cli.terminal import Json, err, out, print_json, require_stack, shown
from pipelines.local.run_lock import only_run
from resources.errors import InputError
from resources.settings import home

if TYPE_CHECKING:
    from assets.qdrant.points import PointWriter
    from resources.vectors.resource import QdrantResource


def reconcile(
    deep: Annotated[
        bool, typer.Option("--deep", help="Compare payloads and vectors, not only the hashes in the points.")
    ] = False,
    as_json: Json = False,
) -> None:
    """Compare every point of the collection with the lake, and repair the differences. Embeds nothing."""
    from assets.corpus import CHUNKS
    from assets.partitions import BUCKETS
    from assets.qdrant import points, promotion, reconciliation

    qdrant, writer = _index_and_writer()
    buckets = [int(key) for key in BUCKETS.get_partition_keys()]
    index_config, reports = points.index_config_of(writer.model, qdrant.quantization), []
    if writer.lake.open(CHUNKS) is None:
        raise InputError("The lake holds no corpus yet: run `cippus run` first.")
    with only_run(home()), qdrant.generations() as generations, Progress(console=err, transient=True) as progress:
        for generation in promotion.generations_to_write(generations, index_config):
            report = reconciliation.Reconciled(generation.name)
            steps = progress.track(buckets, description=generation.name)
            reconciliation.reconcile(generations.open(generation), writer, steps, report, deep=deep)
            reports.append(report)
        waiting, verdict = promotion.serve_if_ready(
            generations, index_config, writer, lambda _generation: None, qdrant.replica_problems
        )
        serving = generations.serving()
    if waiting and verdict and not verdict.passed:
        problems = shown("; ".join(verdict.problems))
        err.print(f"{shown(waiting.name)} is not served: {problems}", highlight=False, soft_wrap=True)
    if as_json:
        print_json({"serving": serving.name if serving else None, "reconciled": [found.to_json() for found in reports]})
        return
    for report in reports:
        damage = ", ".join(
            f"{report.damage[kind]:,} {kind.replace('_', ' ')}" for kind in reconciliation.KINDS if report.damage[kind]
        )
        out.print(f"{shown(report.generation)}: {report.points:,} points, {damage or 'no damage'}", highlight=False)


def rollback(as_json: Json = False) -> None:
    """Serve the previous generation, updated to the lake. Run it again to return."""
    from assets.partitions import BUCKETS
    from assets.qdrant import points, reconciliation

    qdrant, writer = _index_and_writer()
    buckets = [int(key) for key in BUCKETS.get_partition_keys()]
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


def _index_and_writer() -> "tuple[QdrantResource, PointWriter]":
    """Return the index and its writer. Raise InputError when the stack is not up."""
    from assets.qdrant.points import PointWriter
    from resources.wiring import resources, with_secrets

    require_stack()
    made = resources()
    return with_secrets(made.qdrant), PointWriter(made.lake, with_secrets(made.embedder).model())
