"""Turn scores into probabilities: one logistic curve per vertical, close to a common one where labels are few."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Self

import numpy as np
import numpy.typing as npt

from assets.transforms.verticals.taggers.interface import Floats, Texts

MIN_PER_CLASS = 5
"""With fewer labelled members or non-members a vertical keeps the curve that it had before any label."""
_MIN_OF_LANGUAGE = 20
_PENALTY_SLOPE, _PENALTY_VERTICAL, _PENALTY_LANGUAGE = 3.0, 0.3, 1.0
"""Precision of the normal priors of what differs from the common curve. Cross-validated on tweets in four languages:
macro-F1 lay within .01 for 1 to 3, .1 to 1 and .3 to 3."""
_MOST_STEPS, _TOLERANCE = 300, 1e-6


@dataclass(frozen=True)
class Calibration:
    """Logit = slope × score + intercept, each (languages, verticals). Row 0 is for all languages without a row."""

    languages: Texts
    slope: Floats
    intercept: Floats

    @classmethod
    def default(cls, slope: Floats, intercept: Floats) -> Self:
        """Return the same curve for every language; ``slope`` and ``intercept`` are (verticals)."""
        return cls(np.array([""]), slope[None], intercept[None])

    def logits(self, scores: Floats, languages: Texts) -> Floats:
        """Return the calibrated logits of scores (rows, verticals)."""
        rows = _numbers(languages, self.languages)
        return np.asarray(self.slope[rows] * scores + self.intercept[rows])

    def probabilities(self, scores: Floats, languages: Texts) -> Floats:
        """Return the calibrated probabilities of scores (rows, verticals)."""
        from scipy.special import expit  # half a second of imports that a search does without

        return np.asarray(expit(self.logits(scores, languages)))

    def parameters(self) -> dict[str, npt.NDArray[np.generic]]:
        """Return the arrays that `restore` reads."""
        return {"languages": self.languages, "slope": self.slope, "intercept": self.intercept}

    @classmethod
    def restore(cls, parameters: Mapping[str, npt.NDArray[np.generic]]) -> Self:
        """Return the calibration with these parameters."""
        slope, intercept = (parameters[name].astype(np.float64) for name in ("slope", "intercept"))
        return cls(parameters["languages"].astype(np.str_), slope, intercept)


def is_fittable(labels: Floats) -> npt.NDArray[np.bool_]:
    """Return which verticals have enough labelled members and non-members, shape (verticals)."""
    return np.asarray(np.minimum((labels == 1).sum(axis=0), (labels == 0).sum(axis=0)) >= MIN_PER_CLASS)


def calibrate(scores: Floats, labels: Floats, languages: Texts, default: Calibration) -> Calibration:
    """Fit the curves of verticals with enough labels; the others keep ``default``, which has one row.

    All verticals are fitted at once: a curve is a common one, plus what its vertical and its language add. The
    additions are penalised, so a vertical with five labelled members stays near the common curve.
    """
    fitted = is_fittable(labels)
    if not fitted.any():
        return default
    known = ~np.isnan(labels).all(axis=1)
    common = [name for name, posts in zip(*np.unique(languages[known], return_counts=True), strict=True)
              if name and posts >= _MIN_OF_LANGUAGE]  # fmt: skip
    names = np.array(["", *common])
    fit = _Fit(scores[known][:, fitted], labels[known][:, fitted], _numbers(languages[known], names), len(names))
    slope, intercept = (np.repeat(given, len(names), axis=0) for given in (default.slope, default.intercept))
    slope[:, fitted], intercept[:, fitted] = fit.solve()
    return Calibration(names, slope, intercept)


def _numbers(languages: Texts, names: Texts) -> npt.NDArray[np.intp]:
    """Return the row of each language in ``names``; 0 for one that is not there."""
    rows = np.zeros(len(languages), np.intp)
    for number, name in enumerate(names[1:], start=1):
        rows[languages == name] = number
    return rows


class _Fit:
    """Penalised maximum likelihood of the common curve and the additions, by L-BFGS with the exact gradient."""

    def __init__(self, scores: Floats, labels: Floats, rows: npt.NDArray[np.intp], languages: int) -> None:
        self._scores, self._is_known = scores, ~np.isnan(labels)
        self._labels = np.where(self._is_known, labels, 0.0)
        self._of_language = np.eye(languages)[rows]  # (posts, languages)
        self._of_language[:, 0] = 0.0  # no addition of its own
        verticals = scores.shape[1]
        shapes = [(), (), (verticals,), (verticals,), (languages,), (languages, verticals)]
        penalties = [0.01, 0.0, _PENALTY_SLOPE, _PENALTY_VERTICAL, _PENALTY_SLOPE, _PENALTY_LANGUAGE]
        sizes = [int(np.prod(shape)) for shape in shapes]
        self._shapes, self._ends = shapes, np.cumsum(sizes)[:-1]
        self._penalty = np.repeat(penalties, sizes)

    def solve(self) -> tuple[Floats, Floats]:
        """Return slopes and intercepts, each (languages, verticals)."""
        from scipy.optimize import minimize  # half a second of imports that most commands do without

        start = np.zeros(len(self._penalty))
        start[0] = 1.0
        found = minimize(
            self._loss, start, jac=True, method="L-BFGS-B", options={"maxiter": _MOST_STEPS, "ftol": _TOLERANCE}
        )
        return self._curves(found.x)

    def _curves(self, values: Floats) -> tuple[Floats, Floats]:
        parts = (part.reshape(shape) for part, shape in zip(np.split(values, self._ends), self._shapes, strict=True))
        slope, intercept, of_vertical, base, of_language, shift = parts
        return (
            np.maximum(slope + of_vertical[None, :] + of_language[:, None], 0.0),
            np.asarray(intercept + base[None, :] + shift),
        )

    def _loss(self, values: Floats) -> tuple[float, Floats]:
        from scipy.special import expit, log_expit

        slope, intercept = self._curves(values)
        groups = self._of_language.copy()
        groups[:, 0] = 1.0 - groups.sum(axis=1)
        logits = (groups @ slope) * self._scores + groups @ intercept
        loss = -(np.where(self._labels == 1, log_expit(logits), log_expit(-logits)) * self._is_known).sum()
        error = (expit(logits) - self._labels) * self._is_known
        steep = error * self._scores * ((groups @ slope) > 0)
        gradient = np.concatenate([
            [steep.sum()], [error.sum()], steep.sum(axis=0), error.sum(axis=0),
            self._of_language.T @ steep.sum(axis=1), (self._of_language.T @ error).ravel(),
        ])  # fmt: skip
        return float(loss + 0.5 * (self._penalty * values**2).sum()), gradient + self._penalty * values
