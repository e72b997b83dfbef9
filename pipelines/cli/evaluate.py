"""`cippus evaluate`: measure the real parts on a collection that somebody judged."""

from pathlib import Path
from typing import Annotated

import typer

from pipelines.cli.terminal import Json, err, out, print_json

evaluation = typer.Typer(help="Measure the real parts on a collection that somebody judged.", no_args_is_help=True)


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
    from pipelines.cli.evaluation import search
    from resources.wiring import resources

    embedder = resources().embedder.process_config_and_initialize()  # its key is an EnvVar until then
    with search.evaluation_progress(err) as on_progress:
        found = search.evaluate_search(directory, embedder.model(), on_progress)
    if as_json:
        print_json(found.to_json())
    else:
        search.show_evaluation(out, found)
