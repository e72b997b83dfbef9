"""Turn a tenth of the labels of labelled folders: how many of them does label/issues have in its first rows?

Beside it, if `make peers` installed it: cleanlab on the same probabilities.
"""

import tempfile
import time
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import polars as pl
from rich.console import Console

from assets.embeddings import embedded
from assets.transforms.labels.issues import doubtful_labels, ranked
from assets.transforms.labels.votes import GOLD_COLUMNS
from assets.transforms.text.cleaning import clean
from pipelines.samples.creators import generate
from resources.llm.embedder import EmbedderResource
from tests.benchmarks import BenchResult, Target

_TURNED, _FIRST, _WANTED = 0.1, 0.15, 0.6
_CHARACTERS = 600
"""Of a text: about what one chunk has."""


def measure(home: Path, console: Console, data: tuple[Path, ...] = (), runs: int = 5, seed: int = 0) -> BenchResult:
    """Measure every folder of ``data``, or the sample creators, with several draws of turned labels."""
    del home
    with tempfile.TemporaryDirectory() as scratch:
        if not data:
            generate(Path(scratch), accounts=120, seed=7)
        folders = data or (Path(scratch),)
        figures: dict[str, float] = {}
        targets: dict[str, Target] = {}
        for folder in folders:
            name = folder.name if data else "sample"
            gold, items, vectors = _loaded(folder)
            found = [_run(gold, items, vectors, number) for number in range(seed, seed + runs)]
            for figure in found[0]:
                figures[f"{name}_{figure}"] = round(float(np.mean([run[figure] for run in found])), 4)
            least = min(run["found_share"] for run in found)
            targets[f"{name}_found_share"] = Target(_WANTED, least, least >= _WANTED)
            console.print(
                f"{name}: {gold.height:,} labels, {figures[f'{name}_found_share']:.3f} found", highlight=False
            )
    return BenchResult("labels", figures, targets)


def _loaded(folder: Path) -> tuple[pl.DataFrame, pl.DataFrame, np.ndarray]:
    """Return the labels of posts as in label/gold, the labelled posts, and their vectors."""
    labels = pl.read_parquet(folder / "labels.parquet").filter(
        pl.col("item_kind") == "post", pl.col("is_member").is_not_null()
    )
    ids = labels["item_id"].unique().implode()
    posts = pl.read_parquet(folder / "posts.parquet").filter(pl.col("post_id").is_in(ids)).sort("post_id")
    items = posts.select(item_id="post_id", account_id="account_id")
    texts = [clean(text)[:_CHARACTERS] for text in posts["text"].fill_null("")]
    vectors = embedded(EmbedderResource().model(), texts)
    whole = labels.unique(["item_id", "vertical"]).join(items, on="item_id").with_columns(
        votes=pl.lit(1), agreement=pl.lit(1.0), is_reviewed=pl.lit(value=False),
        labelled_at=pl.lit(None, pl.Datetime("us", "UTC")), label_version=pl.lit("v"),
    )  # fmt: skip
    return whole.select(GOLD_COLUMNS), items, vectors


def _run(gold: pl.DataFrame, items: pl.DataFrame, vectors: np.ndarray, seed: int) -> dict[str, float]:
    turned = pl.Series(np.random.default_rng(seed).random(gold.height) < _TURNED)
    given = gold.with_columns(is_member=pl.col("is_member") ^ turned, turned=turned)
    started = time.perf_counter()
    found = ranked(doubtful_labels(given.select(GOLD_COLUMNS), items, vectors))
    seconds = time.perf_counter() - started
    told = found.join(given.select("item_id", "vertical", "turned"), on=["item_id", "vertical"])
    first = told.filter(pl.col("rank") <= _FIRST * told.height)
    issues = told.filter("is_issue")
    figures = {
        "found_share": _sum(first["turned"]) / _sum(told["turned"]),
        "issue_precision": _sum(issues["turned"]) / max(issues.height, 1),
        "issue_recall": _sum(issues["turned"]) / _sum(told["turned"]),
        "seconds": seconds,
    }
    return figures | _peer(told)


def _sum(values: pl.Series) -> float:
    return float(values.to_numpy().sum())


def _peer(told: pl.DataFrame) -> dict[str, float]:
    """Return cleanlab's share of turned labels in the first rows, and how far its issues are ours."""
    if find_spec("cleanlab") is None:
        return {}
    from cleanlab.filter import find_labels
    from cleanlab.rank import get_label_quality_scores

    frames = []
    for rows in told.partition_by("vertical"):
        labels, members = rows["is_member"].cast(pl.Int64).to_numpy(), rows["probability"].to_numpy()
        both = np.column_stack([1 - members, members])
        issues = find_labels(labels, both, filter_by="confident_learning", n_jobs=1)
        frames.append(
            rows.with_columns(theirs=pl.Series(get_label_quality_scores(labels, both)), issue=pl.Series(issues))
        )
    rows = pl.concat(frames).sort("theirs")
    first = rows.head(int(_FIRST * rows.height))
    return {
        "cleanlab_found_share": _sum(first["turned"]) / _sum(rows["turned"]),
        "same_issues_as_cleanlab": _sum(rows["issue"] == rows["is_issue"]) / rows.height,
    }
