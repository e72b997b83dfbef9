"""Cascade: a local method, and the language model's answer where that one was uncertain and there is an answer."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import polars as pl

from assets.transforms.verticals.taggers.calibration import Calibration, calibrate
from assets.transforms.verticals.taggers.cross_validation import folds_of
from assets.transforms.verticals.taggers.interface import Floats, Texts
from assets.transforms.verticals.taggers.methods import STANDING

CASCADE = "language_model"
LOWEST, HIGHEST = 0.25, 0.75
"""A post is uncertain when its probability for a vertical lies between them."""
_UNTAUGHT_LOGIT = 1.0
"""Logit of a yes before any label, and its negative of a no: right three times of four."""


def merged(local: Mapping[str, Floats]) -> Floats:
    """Return the probabilities of methods by name as one: of the last of STANDING that does not abstain."""
    found, *others = (local[name] for name in STANDING if name in local)
    for other in others:
        found = np.where(np.isnan(other), found, other)
    return found


def answer_matrix(posts: pl.DataFrame, answers: pl.DataFrame, verticals: Sequence[str]) -> Floats:
    """Return what the language model said, shape (posts, verticals): 1 yes, -1 no, NaN no answer.

    ``posts`` has (post_id, text_hash), ``answers`` (post_id, text_hash, verticals); an answer to another text does not
    count.
    """
    found, places = np.full((posts.height, len(verticals)), np.nan), {name: at for at, name in enumerate(verticals)}
    known = (
        posts.select("post_id", "text_hash")
        .with_row_index("_row")
        .join(answers.drop_nulls("verticals"), on=["post_id", "text_hash"])
    )
    for row, named in known.select("_row", "verticals").iter_rows():
        found[row] = -1.0
        found[row, [places[name] for name in named if name in places]] = 1.0
    return found


def is_uncertain(probabilities: Floats) -> npt.NDArray[np.bool_]:
    """Return which posts a local method is uncertain of, of probabilities (posts, verticals), NaN where it abstains."""
    return np.asarray(((probabilities >= LOWEST) & (probabilities <= HIGHEST)).any(axis=1))


@dataclass(frozen=True)
class CascadeTagger:
    """How probable a vertical is when the language model says yes, and when it says no; it abstains without one."""

    calibration: Calibration

    def probabilities(self, local: Floats, answers: Floats, languages: Texts) -> Floats:
        """Return probabilities: of ``answers`` (1 yes, -1 no, NaN no answer), else those of the local method."""
        found = self.calibration.probabilities(np.nan_to_num(answers), languages)
        return np.where(np.isnan(answers), local, found)

    def parameters(self) -> Mapping[str, npt.NDArray[np.generic]]:
        """Return the curves."""
        return self.calibration.parameters()


def fit(answers: Floats, labels: Floats, languages: Texts) -> CascadeTagger:
    """Calibrate answers (posts, verticals) on labels of the same shape: 1 member, 0 not, NaN unlabelled."""
    default = Calibration.default(np.full(labels.shape[1], _UNTAUGHT_LOGIT), np.zeros(labels.shape[1]))
    known = np.where(np.isnan(answers), np.nan, labels)
    return CascadeTagger(calibrate(np.nan_to_num(answers), known, languages, default))


def held_out(local: Floats, answers: Floats, labels: Floats, languages: Texts, accounts: Texts) -> Floats:
    """Return probabilities of posts by answers that were calibrated without their accounts.

    ``local``: held-out probabilities of the local method.
    """
    found, folds = local.copy(), folds_of(accounts)
    for fold in np.unique(folds):
        out = folds == fold
        tagger = fit(answers[~out], labels[~out], languages[~out])
        found[out] = tagger.probabilities(local[out], answers[out], languages[out])
    return found
