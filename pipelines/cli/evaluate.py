"""`cippus evaluate`: measure search on a judged collection."""

from pathlib import Path
from typing import Annotated

import typer

from pipelines.cli.terminal import Json, err, out, print_json

evaluation = typer.Typer(help="Measure search on a judged collection.", no_args_is_help=True)


@evaluation.callback()
def evaluate() -> None:
    """Measure search on a judged collection."""


@evaluation.command("search")
def evaluate_search(
    directory: Annotated[
        Path, typer.Argument(help="Folder with corpus.parquet, queries.parquet and qrels_test.tsv, as in BEIR.")
    ],
    as_json: Json = False,
) -> None:
    """Measure nDCG@10 and recall@100 of dense, BM25 and hybrid search on a judged collection. Stores nothing."""
    from pipelines.cli.evaluation import search
    from resources.wiring import resources

    embedder = resources().embedder.process_config_and_initialize()  # until then, its key is an EnvVar
    with search.evaluation_progress(err) as on_progress:
        found = search.evaluate_search(directory, embedder.model(), on_progress)
    if as_json:
        print_json(found.to_json())
    else:
        search.show_evaluation(out, found)
