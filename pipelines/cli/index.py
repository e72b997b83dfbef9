"""`cippus reconcile` and `cippus rollback`: repair the collection, or serve its previous generation."""

from typing import TYPE_CHECKING, Annotated

import typer
from rich.progress import Progress

from pipelines.cli.terminal import Json, err, out, print_json, require_stack
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
    from assets.partitions import BUCKETS
    from assets.qdrant.points import recipe_of
    from assets.qdrant.promotion import serve_if_ready, written
    from assets.qdrant.reconciliation import KINDS, Reconciled
    from assets.qdrant.reconciliation import reconcile as repair

    qdrant, writer = _of_this_environment()
    buckets = [int(key) for key in BUCKETS.get_partition_keys()]
    recipe, reports = recipe_of(writer.model, qdrant.quantization), []
    if not writer.lake_has_chunks():
        message = "The lake holds no corpus yet: run `cippus run` first."
        raise InputError(message)
    with only_run(home()), qdrant.generations() as generations, Progress(console=err, transient=True) as progress:
        for generation in written(generations, recipe):
            report, steps = Reconciled(generation.name), progress.track(buckets, description=generation.name)
            repair(generations.open(generation), writer, steps, report, deep=deep)
            reports.append(report)
        waiting, verdict = serve_if_ready(
            generations, recipe, writer, lambda _generation: None, qdrant.unequal_replicas
        )
        serving = generations.serving()
    if waiting and verdict and not verdict.passed:
        err.print(f"{waiting.name} is not served: {'; '.join(verdict.problems)}", highlight=False, soft_wrap=True)
    if as_json:
        print_json({"serving": serving.name if serving else None, "reconciled": [one.to_json() for one in reports]})
        return
    for report in reports:
        damage = ", ".join(f"{report.damage[kind]:,} {kind.replace('_', ' ')}" for kind in KINDS if report.damage[kind])
        out.print(f"{report.generation}: {report.points:,} points, {damage or 'no damage'}", highlight=False)


def rollback(as_json: Json = False) -> None:
    """Serve the previous generation, updated to the lake. Run it again to return."""
    from assets.partitions import BUCKETS
    from assets.qdrant.points import recipe_of
    from assets.qdrant.reconciliation import Reconciled
    from assets.qdrant.reconciliation import reconcile as repair

    qdrant, writer = _of_this_environment()
    buckets = [int(key) for key in BUCKETS.get_partition_keys()]
    with only_run(home()), qdrant.generations() as generations:
        before, previous = generations.serving(), generations.previous()
        # Runs update only the served generation: without a repair, search would find posts deleted since.
        is_current = previous is not None and previous.recipe.has_vectors_of(recipe_of(writer.model, "none"))
        if previous is not None and is_current:
            repair(generations.open(previous), writer, buckets, Reconciled(previous.name), deep=False)
        serving = generations.roll_back()
    left = before.name if before else "nothing"
    if as_json:
        told_all = {"serving": serving.name, "instead_of": left, "model": serving.recipe.model, "current": is_current}
        print_json(told_all)
    else:
        state = "in line with the lake" if is_current else "as it was when it was last served"
        told = f"{serving.name} is served instead of {left}, {state}; its vectors are of {serving.recipe.model}."
        out.print(told, highlight=False, soft_wrap=True)


def _of_this_environment() -> "tuple[QdrantResource, PointWriter]":
    """Return the index and its writer. Raise InputError when the stack is not up."""
    from assets.qdrant.points import PointWriter
    from resources.wiring import resources

    require_stack()
    made = resources()
    # Until they are initialized, their secrets are EnvVars.
    qdrant, embedder = made.qdrant.process_config_and_initialize(), made.embedder.process_config_and_initialize()
    return qdrant, PointWriter(made.lake, embedder.model())
