"""`cippus evaluate`: measure search, answers, summaries and verticals on judged sets."""

import datetime as dt
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from pipelines.cli.terminal import Json, err, out, print_json, require_stack

evaluation = typer.Typer(help="Measure search, answers, summaries and verticals on judged sets.", no_args_is_help=True)


class Encoder(StrEnum):
    """A local encoder."""

    ENGLISH = "english"
    MULTILINGUAL = "multilingual"


@evaluation.callback()
def evaluate() -> None:
    """Measure search, answers, summaries and verticals on judged sets."""


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


@evaluation.command("ask")
def evaluate_ask(
    directory: Annotated[
        Path,
        typer.Argument(help="Folder that was loaded, with questions.parquet (question, answerable, post_ids)."),
    ],
    with_model: Annotated[
        bool, typer.Option("--model", help="Ask the language model, which may cost money; without it posts are quoted.")
    ] = False,
    as_json: Json = False,
) -> None:
    """Ask questions of the stack: citation precision and recall, abstention, latency. Stores nothing."""
    require_stack()
    from assets.search.ask import Asker
    from assets.search.query import open_search
    from pipelines.cli.evaluation import ask
    from pipelines.cli.evaluation.search import evaluation_progress
    from resources.wiring import resources

    searcher = open_search()
    with resources().llm.process_config_and_initialize_cm() as llm, evaluation_progress(err) as on_progress:
        found = ask.evaluate_ask(
            directory,
            searcher.lake,
            Asker(searcher, llm),
            lambda done, total: on_progress("asking questions", done, total),
            quotes_only=not with_model,
        )
    if as_json:
        print_json(found.to_json())
    else:
        ask.show_evaluation(out, found)


@evaluation.command("summaries")
def evaluate_summaries(
    directory: Annotated[
        Path,
        typer.Argument(
            help="Folder with reviews.parquet (entity_id, review_id, text) and references.parquet (entity_id, summary)."
        ),
    ],
    with_model: Annotated[
        bool, typer.Option("--model", help="Measure the language model too, which may cost money; needs the stack.")
    ] = False,
    save: Annotated[bool, typer.Option(help="Store the figures for mart/model_comparison; needs the stack.")] = False,
    as_json: Json = False,
) -> None:
    """Compare summaries with those that people wrote: ROUGE, citations, unsupported sentences."""
    from assets.summaries.evaluations import keep
    from pipelines.cli.evaluation import summaries
    from resources.spend.store import S3Store
    from resources.wiring import resources, s3_resource, with_secrets

    if with_model or save:
        require_stack()
    made = resources()
    model = with_secrets(made.embedder).model()
    if with_model:
        with made.llm.process_config_and_initialize_cm() as llm, llm.open("evaluation", "evaluate/summaries") as lane:
            found = summaries.evaluate_summaries(directory, model, lane)
    else:
        found = summaries.evaluate_summaries(directory, model)
    if save:
        keep(S3Store(s3_resource()), found.to_keep(dt.datetime.now(dt.UTC).date().isoformat()))
    if as_json:
        print_json(found.to_json())
    else:
        summaries.show_evaluation(out, found)


@evaluation.command("verticals")
def evaluate_verticals(
    directory: Annotated[
        Path, typer.Argument(help="Folder in the source schema, with labels.parquet. Nothing is fitted on it.")
    ],
    method: Annotated[
        str | None,
        typer.Option(help="zero_shot, probe or contrastive; without it, the best one on held-out accounts of --train."),
    ] = None,
    train: Annotated[
        Path | None, typer.Option(help="Labelled folder that methods and thresholds are fitted on.")
    ] = None,
    encoder: Annotated[
        Encoder, typer.Option(help="Encoder of the posts; that of the lineage is set by CIPPUS_ENCODER.")
    ] = Encoder.MULTILINGUAL,
    as_json: Json = False,
) -> None:
    """Measure tags of posts and accounts against labels: precision, recall and F1 with intervals. Stores nothing."""
    from pipelines.cli.evaluation import verticals
    from resources.catalogues import load_verticals
    from resources.llm.embedder import EmbedderResource

    model = EmbedderResource(encoder=encoder.value).model()
    with err.status("embedding posts and fitting methods"):
        found = verticals.evaluate_verticals(directory, train, method, model, load_verticals())
    if as_json:
        print_json(found.to_json())
    else:
        verticals.show_evaluation(out, found)
