"""`cippus evaluate verticals`: measure methods of tagging on a labelled folder that they were not fitted on."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from rich.console import Console
from rich.table import Table

from assets.transforms.verticals import quality as measured
from assets.transforms.verticals.scoring import ACCOUNT, POST
from assets.transforms.verticals.taggers.cross_validation import held_out
from assets.transforms.verticals.taggers.features import Vectors, features
from assets.transforms.verticals.taggers.interface import Floats, Posts
from assets.transforms.verticals.taggers.labels import judged, label_matrix
from assets.transforms.verticals.taggers.methods import methods
from assets.transforms.verticals.taggers.zero_shot import ZERO_SHOT
from assets.transforms.verticals.thresholds import EVEN, fit_each
from assets.verticals.examples import describe
from pipelines.cli.evaluation.labelled_folder import LabelledFolder, read_labelled
from pipelines.cli.terminal import shown
from resources.catalogues import Vertical
from resources.errors import InputError
from resources.models.embedder import EmbeddingModel

_LABEL = ["item_kind", "item_id", "vertical"]


@dataclass(frozen=True)
class VerticalEvaluation:
    """Item kind → rows of `quality` and one of `methods`, the method that was measured, and what was left out."""

    per_vertical: Mapping[str, pl.DataFrame]
    overall: Mapping[str, dict[str, Any]]
    method: Mapping[str, str]
    encoder: str
    notes: Sequence[str]

    def to_json(self) -> dict[str, Any]:
        """Return item kind → figures, and the encoder and the notes."""
        found: dict[str, Any] = {kind: self._of_kind(kind) for kind in self.per_vertical}
        return found | {"encoder": self.encoder, "notes": list(self.notes)}

    def _of_kind(self, kind: str) -> dict[str, Any]:
        overall = self.overall[kind]
        return {
            "method": self.method[kind],
            **{name: _rounded(overall[name]) for name in ("macro_f1", "micro_f1")},
            "intervals": {name: _interval(overall, name) for name in ("macro_f1", "micro_f1")},
            "items": overall["items"],
            "accounts": overall["accounts"],
            "per_vertical": {
                row["vertical"]: {
                    **{name: _rounded(row[name] or 0.0) for name in ("precision", "recall", "f1")},
                    "support": row["members"],
                    "called": row["called"],
                    "intervals": {name: _interval(row, name) for name in ("precision", "recall", "f1")},
                }
                for row in self.per_vertical[kind].iter_rows(named=True)
            },
        }


@dataclass(frozen=True)
class _Fold:
    """A folder's posts with their features and labels."""

    folder: LabelledFolder
    rows: pl.DataFrame
    posts: Posts
    labels: Floats

    @classmethod
    def of(cls, folder: LabelledFolder, described: Mapping[str, Vectors]) -> "_Fold":
        is_read = folder.vectors.any(axis=1)
        rows, posts = features(
            folder.chunks.filter(pl.Series(is_read, dtype=pl.Boolean)), folder.vectors[is_read], described
        )
        return cls(folder, rows, posts, label_matrix(rows, folder.gold, list(described)))

    @property
    def accounts(self) -> Any:
        return self.rows["account_id"].to_numpy().astype(np.str_)


def evaluate_verticals(
    folder: Path, train: Path | None, method: str | None, model: EmbeddingModel, verticals: Sequence[Vertical]
) -> VerticalEvaluation:
    """Tag the labelled items of ``folder`` and compare the tags with its labels. Raise InputError for a bad folder.

    Methods and thresholds are fitted on ``train``; without it, zero-shot tags from probability one half. Without a
    ``method``, the one with the highest macro-F1 on held-out accounts of ``train`` is measured.
    """
    known, names = methods([found.default_threshold for found in verticals]), [found.name for found in verticals]
    if method is not None and method not in known:
        raise InputError(f"The method is {method}; it must be one of {', '.join(known)}.")
    if train is None and method not in (None, ZERO_SHOT):
        raise InputError(f"The method {method} learns from labels; give a labelled folder with --train.")
    described = describe(verticals, model)
    judged_on = _Fold.of(read_labelled(folder, model, names), described)
    kinds = [kind for kind in (POST, ACCOUNT) if kind in set(judged_on.folder.gold.filter("is_member")["item_kind"])]
    if not kinds:
        raise InputError(f"No item of {folder / 'labels.parquet'} is a member of a vertical; expected some.")
    if train is None:
        fitted_on, calls = None, None
        chosen = dict.fromkeys(kinds, ZERO_SHOT)
    else:
        fitted_on = _Fold.of(read_labelled(train, model, names), described)
        tried = [method] if method else list(known)
        parts = [_held_out(fitted_on, known[name], names) for name in tried]
        calls = fit_each(pl.concat(parts).drop_nulls("probability"))
        chosen = {kind: method or _best(calls, kind, names) for kind in kinds}
    scored = {name: _scored(judged_on, fitted_on, known[name], names) for name in set(chosen.values()) | {ZERO_SHOT}}
    per_vertical, overall = {}, {}
    for kind in kinds:
        decided = _decided(scored, chosen[kind], kind, judged_on.folder.gold, calls)
        per_vertical[kind] = measured.quality(decided, names).filter(pl.col("members") > 0).sort("vertical")
        overall[kind] = measured.methods(decided, names).row(0, named=True)
    return VerticalEvaluation(per_vertical, overall, chosen, model.name, _notes(judged_on, fitted_on))


def _held_out(fold: _Fold, method: Any, names: Sequence[str]) -> pl.DataFrame:
    found = held_out(method, fold.posts, fold.labels, fold.accounts)
    return judged(fold.rows, found, method.name, fold.folder.gold, names)


def _scored(on: _Fold, fitted_on: _Fold | None, method: Any, names: Sequence[str]) -> pl.DataFrame:
    """Return the probabilities of the labelled items of ``on``, by a method fitted on other items."""
    source = fitted_on or on
    labels = source.labels if fitted_on else np.full_like(on.labels, np.nan)
    tagger = method.fit(source.posts, labels, source.accounts)
    return judged(on.rows, tagger.probabilities(on.posts), method.name, on.folder.gold, names)


def _best(calls: pl.DataFrame, kind: str, names: Sequence[str]) -> str:
    """Return the method with the highest macro-F1; of posts where no account is labelled."""
    found = measured.methods(calls, names)
    of_kind = found.filter(item_kind=kind)
    return str((of_kind if of_kind.height else found).sort("macro_f1", descending=True)["method"][0])


def _decided(
    scored: Mapping[str, pl.DataFrame], method: str, kind: str, gold: pl.DataFrame, calls: pl.DataFrame | None
) -> pl.DataFrame:
    """Return every labelled item of a kind with its call: by ``method``, where it abstains by zero-shot, else no."""
    answers = pl.concat([scored[name] for name in dict.fromkeys([method, ZERO_SHOT])]).filter(item_kind=kind)
    best = answers.drop_nulls("probability").unique(_LABEL, keep="first", maintain_order=True)
    limits = _limits(calls, kind)
    placed = (
        gold.filter(item_kind=kind)
        .join(best.select(*_LABEL, "probability", used="method"), on=_LABEL, how="left")
        .join(limits, left_on=["vertical", "used"], right_on=["vertical", "method"], how="left")
        .with_columns(pl.col("threshold").fill_null(EVEN), pl.col("probability").fill_null(0.0))
    )
    return placed.with_columns(method=pl.lit(method), is_called=pl.col("probability") >= pl.col("threshold"))


def _limits(calls: pl.DataFrame | None, kind: str) -> pl.DataFrame:
    """Return (vertical, method, threshold) of a kind of item; of posts where no account is labelled."""
    schema = {"vertical": pl.String, "method": pl.String, "threshold": pl.Float64}
    if calls is None:
        return pl.DataFrame(schema=schema)
    fitted = calls.drop_nulls("threshold")
    of_kind = fitted.filter(item_kind=kind)
    return (of_kind if of_kind.height else fitted).select(list(schema)).unique(["vertical", "method"])


def _notes(judged_on: _Fold, fitted_on: _Fold | None) -> list[str]:
    notes = []
    for what, fold in (("", judged_on), ("--train: ", fitted_on)):
        if fold is None:
            continue
        notes += [f"{what}{count:,} labels not used: {reason}." for reason, count in fold.folder.unused.items()]
        unread = fold.folder.chunks["post_id"].n_unique() - fold.rows.height
        if unread:
            notes.append(f"{what}{unread:,} posts that the encoder cannot read have no tag.")
    if fitted_on is not None:
        shared = set(judged_on.rows["post_id"]) & set(fitted_on.rows["post_id"])
        if shared:
            notes.append(f"{len(shared):,} posts are in both folders: the figures are too good.")
    return notes


def _rounded(value: float) -> float:
    return round(float(value), 5)


def _interval(row: Mapping[str, Any], name: str) -> list[float] | None:
    low, high = row[f"{name}_low"], row[f"{name}_high"]
    return None if low is None else [_rounded(low), _rounded(high)]


def show_evaluation(console: Console, found: VerticalEvaluation) -> None:
    """Print the figures as a table a kind of item."""
    for kind, rows in found.per_vertical.items():
        overall = found.overall[kind]
        title = (
            f"{overall['items']:,} {kind}s of {overall['accounts']:,} accounts by {found.method[kind]}: macro-F1 "
            f"{overall['macro_f1']:.3f} [{overall['macro_f1_low']:.3f}, {overall['macro_f1_high']:.3f}], "
            f"micro-F1 {overall['micro_f1']:.3f}"
        )
        table = Table("vertical", "support", "precision", "recall", "F1", title=title)
        for row in rows.iter_rows(named=True):
            figures = (_figure(row, name) for name in ("precision", "recall", "f1"))
            table.add_row(row["vertical"], f"{row['members']:,}", *figures)
        console.print(table, markup=False)
    for note in found.notes:
        console.print(shown(note), style="yellow", highlight=False)


def _figure(row: Mapping[str, Any], name: str) -> str:
    if row[name] is None:
        return "–"
    return f"{row[name]:.2f} [{row[f'{name}_low']:.2f}, {row[f'{name}_high']:.2f}]"
