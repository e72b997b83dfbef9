"""Probe: a ridge regression of the labels on a post's vector, beside its nearness to the descriptions."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
import numpy.typing as npt

from assets.transforms.verticals.taggers.calibration import Calibration, calibrate, is_fittable
from assets.transforms.verticals.taggers.cross_validation import folds_of
from assets.transforms.verticals.taggers.interface import Floats, Posts, Texts

PROBE = "probe"
_PENALTIES = (3.0, 10.0, 30.0)
_PRIOR = 0.5
"""Standard deviation of the nearness in a score, in which labels have 1. On tweets .3 to .6 gave the same macro-F1."""
_INNER_FOLDS = 4
_LEAST_VARIANCE = 1e-3

Map = Callable[[npt.NDArray[np.float32]], Floats]
"""What makes the regression's inputs of vectors, row by row."""
Mapped = TypeVar("Mapped", bound=Map)


@dataclass(frozen=True)
class ProbeTagger:
    """Score = vector · weights + offset + prior × nearness, then calibrated."""

    weights: Floats
    offset: Floats
    prior: Floats
    is_fitted: npt.NDArray[np.bool_]
    calibration: Calibration

    def scores(self, posts: Posts) -> Floats:
        """Return the scores before calibration, shape (posts, verticals)."""
        linear = posts.vectors.astype(np.float64) @ self.weights + self.offset
        return np.asarray(linear + self.prior * posts.nearness)

    def probabilities(self, posts: Posts) -> Floats:
        """Return the probabilities; NaN for verticals with too few labels to fit."""
        found = self.calibration.probabilities(self.scores(posts), posts.languages)
        found[:, ~self.is_fitted] = np.nan
        return found

    @property
    def covers(self) -> npt.NDArray[np.bool_]:
        """The verticals with enough labels."""
        return self.is_fitted

    def parameters(self) -> Mapping[str, npt.NDArray[np.generic]]:
        """Return weights and curves. No row of a post is kept."""
        own = {"weights": self.weights, "offset": self.offset, "prior": self.prior, "is_fitted": self.is_fitted}
        return own | self.calibration.parameters()


@dataclass(frozen=True)
class Probe:
    """The method. How much it trusts the labels, against the descriptions, is chosen by inner cross-validation."""

    name: str = PROBE
    version: str = "1"

    def fit(self, posts: Posts, labels: Floats, accounts: Texts) -> ProbeTagger:
        """Fit on the labelled posts. Each curve is fitted on scores of accounts that the weights did not see."""
        return fit_probe(posts, labels, accounts, lambda _vectors, _labels: unmapped)[0]

    def restore(self, parameters: Mapping[str, npt.NDArray[np.generic]]) -> ProbeTagger:
        """Return the tagger with these weights."""
        return restore_probe(parameters)


def unmapped(vectors: npt.NDArray[np.float32]) -> Floats:
    """Return the vectors as they are."""
    return vectors.astype(np.float64)


def fit_probe(
    posts: Posts, labels: Floats, accounts: Texts, train: Callable[[npt.NDArray[np.float32], Floats], Mapped]
) -> tuple[ProbeTagger, Mapped]:
    """Return a probe on the vectors that a map gives, and the map. ``train`` makes one of vectors and their labels.

    A map is trained for each inner fold without it: the curves are fitted on posts that neither map nor weights saw.
    """
    is_fitted = is_fittable(labels)
    known = np.asarray(~np.isnan(labels).all(axis=1))
    posts, labels, folds = posts[known], labels[known], folds_of(accounts[known], _INNER_FOLDS, seed=1)
    mapped = train(posts.vectors, labels)
    verticals = labels.shape[1]
    untaught = Calibration.default(np.ones(verticals), np.zeros(verticals))
    if not is_fitted.any():
        zeros = np.zeros((mapped(posts.vectors).shape[1], verticals))
        return ProbeTagger(zeros, np.zeros(verticals), np.zeros(verticals), is_fitted, untaught), mapped
    targets = _targets(labels)
    parts = [_Fold.of(posts.vectors, labels, targets, folds == fold, train) for fold in np.unique(folds)
             if (folds != fold).any()]  # fmt: skip
    of_prior, shift = _standardised(posts.nearness)
    tried: list[tuple[float, float, Calibration]] = []
    for penalty in _PENALTIES:
        scores = _held_out(parts, penalty, labels.shape) + of_prior * posts.nearness + shift
        calibration = calibrate(scores, labels, posts.languages, untaught)
        logits = calibration.logits(scores, posts.languages)
        tried.append((_loss(logits[:, is_fitted], labels[:, is_fitted]), penalty, calibration))
    _, penalty, calibration = min(tried, key=lambda found: found[0])
    weights, offset = _Solved.of(mapped(posts.vectors), targets).weights(penalty)
    return ProbeTagger(weights, offset + shift, of_prior, is_fitted, calibration), mapped


def restore_probe(parameters: Mapping[str, npt.NDArray[np.generic]]) -> ProbeTagger:
    """Return the tagger with these weights."""
    weights, offset, prior = (parameters[name].astype(np.float64) for name in ("weights", "offset", "prior"))
    is_fitted = parameters["is_fitted"].astype(np.bool_)
    return ProbeTagger(weights, offset, prior, is_fitted, Calibration.restore(parameters))


@dataclass(frozen=True)
class _Solved:
    """A ridge regression for any penalty: eigenvectors of the vectors' covariance, and the targets in their terms."""

    mean: Floats
    directions: Floats
    variances: Floats
    projected: Floats

    @classmethod
    def of(cls, vectors: Floats, targets: Floats) -> "_Solved":
        mean = vectors.mean(axis=0)
        centred = vectors - mean
        if len(centred) < centred.shape[1]:
            _, lengths, rows = np.linalg.svd(centred, full_matrices=False)
            variances, directions = lengths**2, rows.T
        else:
            variances, directions = np.linalg.eigh(centred.T @ centred)
        size = np.maximum(variances.sum() / len(vectors), _LEAST_VARIANCE)  # mean squared length
        return cls(mean, directions, np.maximum(variances, 0.0) / size, directions.T @ (centred.T @ targets) / size)

    def weights(self, penalty: float) -> tuple[Floats, Floats]:
        """Return weights (dimension, verticals) and offset (verticals)."""
        weights = self.directions @ (self.projected / (self.variances + penalty)[:, None])
        return weights, -self.mean @ weights


@dataclass(frozen=True)
class _Fold:
    """The regression without a fold, and the fold's mapped vectors."""

    is_in: npt.NDArray[np.bool_]
    inputs: Floats
    solved: _Solved

    @classmethod
    def of(
        cls,
        vectors: npt.NDArray[np.float32],
        labels: Floats,
        targets: Floats,
        is_in: npt.NDArray[np.bool_],
        train: Callable[[npt.NDArray[np.float32], Floats], Map],
    ) -> "_Fold":
        mapped = train(vectors[~is_in], labels[~is_in])
        return cls(is_in, mapped(vectors[is_in]), _Solved.of(mapped(vectors[~is_in]), targets[~is_in]))


def _held_out(folds: Sequence[_Fold], penalty: float, shape: tuple[int, ...]) -> Floats:
    """Return the score of each post by the regression without its fold."""
    found = np.zeros(shape)
    for fold in folds:
        weights, offset = fold.solved.weights(penalty)
        found[fold.is_in] = fold.inputs @ weights + offset
    return found


def _targets(labels: Floats) -> Floats:
    """Return labels of mean 0 and variance 1 a vertical; an unlabelled post is at the mean."""
    is_known = ~np.isnan(labels)
    share = np.where(is_known, labels, 0.0).sum(axis=0) / np.maximum(is_known.sum(axis=0), 1)
    spread = np.sqrt(np.maximum(share * (1 - share), _LEAST_VARIANCE))
    return np.where(is_known, (np.nan_to_num(labels) - share) / spread, 0.0)


def _standardised(nearness: Floats) -> tuple[Floats, Floats]:
    """Return slope and shift that give each vertical's nearness the standard deviation _PRIOR and the mean 0."""
    slope = _PRIOR / np.maximum(nearness.std(axis=0), _LEAST_VARIANCE)
    return slope, -slope * nearness.mean(axis=0)


def _loss(logits: Floats, labels: Floats) -> float:
    """Return the mean over verticals of the log loss."""
    from scipy.special import log_expit  # half a second of imports that a search does without

    is_known = ~np.isnan(labels)
    losses = np.where(is_known, -np.where(labels == 1, log_expit(logits), log_expit(-logits)), 0.0)
    return float((losses.sum(axis=0) / np.maximum(is_known.sum(axis=0), 1)).mean())
