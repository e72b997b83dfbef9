"""`cippus bench` and `cippus evaluate`: figures about Cippus itself.

Belongs here: their arguments. Not here: measuring (benchmarks/, evaluation/).
"""

from enum import StrEnum
from importlib import import_module
from pathlib import Path
from typing import Annotated

import typer

from pipelines import presentation
from pipelines.terminal import Json, err, out, print_json, require_stack
from resources.environments import home


class BenchName(StrEnum):
    """The benchmarks, each a module of pipelines/benchmarks."""

    OVERHEAD = "overhead"
    THROTTLE = "throttle"
    GOVERNOR = "governor"
    EMBED = "embed"
    INDEX = "index"
    ERASE = "erase"
    MERGE = "merge"
    CHAOS = "chaos"
    EXTRACT = "extract"


_ON_THE_STACK = {BenchName.OVERHEAD, BenchName.GOVERNOR, BenchName.EMBED, BenchName.EXTRACT}

evaluation = typer.Typer(help="Measure the real parts on a collection that somebody judged.", no_args_is_help=True)


def bench(
    name: Annotated[BenchName, typer.Argument(help="Which benchmark.")],
    as_json: Json = False,
    runs: Annotated[int | None, typer.Option(min=1, help="chaos: how many seeded runs (default 60).")] = None,
    seed: Annotated[int | None, typer.Option(min=0, help="chaos: the first run's seed (default 0).")] = None,
) -> None:
    """Measure something beside its peers, in one run."""
    options = {option: given for option, given in (("runs", runs), ("seed", seed)) if given is not None}
    if options and name is not BenchName.CHAOS:
        raise typer.BadParameter(f"--{next(iter(options))} is an option of `cippus bench chaos` alone.")
    if name in _ON_THE_STACK:
        require_stack()
    measured = import_module(f"pipelines.benchmarks.{name}")
    result = measured.measure(home(), err, **options)
    if as_json:
        print_json(result.to_json())
    else:
        presentation.show_bench(out, result)


@evaluation.callback()
def evaluate() -> None:
    """Measure the real parts on a collection that somebody judged."""


@evaluation.command("search")
def evaluate_search(
    directory: Annotated[
        Path, typer.Argument(help="Folder with corpus.parquet, queries.parquet and qrels_test.tsv, as in BEIR.")
    ],
    as_json: Json = False,
) -> None:
    """nDCG@10 and recall@100 of dense, BM25 and hybrid search on a judged collection; nothing of it is kept."""
    from pipelines.evaluation import search
    from resources.environments import resources

    embedder = resources().embedder.process_config_and_initialize()  # its key is an EnvVar until then
    with search.evaluation_progress(err) as on_progress:
        found = search.evaluate_search(directory, embedder.model(), on_progress)
    if as_json:
        print_json(found.to_json())
    else:
        search.show_evaluation(out, found)
