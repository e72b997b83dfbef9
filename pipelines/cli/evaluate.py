"""`cippus evaluate`: measure search and summaries on judged sets."""

from pathlib import Path
from typing import Annotated

import typer

from pipelines.cli.terminal import Json, err, out, print_json

evaluation = typer.Typer(help="Measure search and summaries on judged sets.", no_args_is_help=True)


@evaluation.callback()
def evaluate() -> None:
    """Measure search and summaries on judged sets."""


@evaluation.command("search")
def evaluate_search(
    directory: Annotated[
        Path, typer.Argument(help="Folder with corpus.parquet, queries.parquet and qrels_test.tsv, as in BEIR.")
    ],
    as_json: Json = False,
) -> None:
    """Measure nDCG@10 and recall@100 of dense, BM25 and hybrid search on a judged collection. Stores nothing."""
    from pipelines.cli.evaluation import search
    from resources.wiring import resources, with_secrets

    embedder = with_secrets(resources().embedder)
    with search.evaluation_progress(err) as on_progress:
        found = search.evaluate_search(directory, embedder.model(), on_progress)
    if as_json:
        print_json(found.to_json())
    else:
        search.show_evaluation(out, found)


@evaluation.command("summaries")
def evaluate_summaries(
    directory: Annotated[
        Path,
        typer.Argument(
            help="Folder with reviews.parquet (entity_id, review_id, text) and references.parquet (entity_id, summary)."
        ),
    ],
    as_json: Json = False,
) -> None:
    """Compare summaries with those that people wrote: ROUGE, citations, unsupported sentences. Stores nothing."""
    from pipelines.cli.evaluation import summaries
    from resources.wiring import resources, with_secrets

    embedder = with_secrets(resources().embedder)
    found = summaries.evaluate_summaries(directory, embedder.model())
    if as_json:
        print_json(found.to_json())
    else:
        summaries.show_evaluation(out, found)
