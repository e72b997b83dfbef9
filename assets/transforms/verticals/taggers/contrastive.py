"""Contrastive: the probe on vectors that a small head has drawn together by vertical. A candidate, see `methods`."""

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from assets.transforms.verticals.taggers.calibration import is_fittable
from assets.transforms.verticals.taggers.interface import Floats, Posts, Texts
from assets.transforms.verticals.taggers.probe import ProbeTagger, fit_probe, restore_probe

_RANK, _STEPS, _BATCH = 128, 60, 256
_TEMPERATURE, _RATE, _SHRINKAGE = 0.1, 0.001, 0.01
"""On tweets in four languages, macro-F1 lay within .01 for rates of .001 to .003 and 40 to 100 steps; 200 steps cost
.02. The shrinkage draws the head to the identity, with which it is the probe on 128 directions."""
_MOMENTUM, _SQUARES, _TINY = 0.9, 0.99, 1e-8
_LEAST_LENGTH = 1e-6

Singles = npt.NDArray[np.float32]


@dataclass(frozen=True)
class Head:
    """A linear map: ``mean`` (dimension), ``directions`` (dimension, rank)."""

    mean: Floats
    directions: Floats

    def __call__(self, vectors: npt.NDArray[np.float32]) -> Floats:
        """Return vectors of unit length, shape (rows, rank)."""
        mapped = (vectors.astype(np.float64) - self.mean) @ self.directions
        return np.asarray(mapped / np.maximum(np.linalg.norm(mapped, axis=1, keepdims=True), _LEAST_LENGTH))


def train(vectors: npt.NDArray[np.float32], labels: Floats) -> Head:
    """Train a head on labelled posts: members of a vertical draw together, and apart from posts that are none.

    ``labels``: (posts, verticals), 1 member, 0 not, NaN unlabelled. The loss is InfoNCE over the labelled pairs of a
    batch, each vertical with equal weight, as in Khosla et al., Supervised Contrastive Learning (2020). Equal input
    gives an equal head; without a vertical that has enough labels it is the identity.
    """
    is_fitted, exact = is_fittable(labels), vectors.astype(np.float64)
    if not is_fitted.any():
        return Head(np.zeros(vectors.shape[1]), np.eye(vectors.shape[1]))
    mean = exact.mean(axis=0)
    centred = exact - mean
    _, directions = np.linalg.eigh(centred.T @ centred)
    main = directions[:, ::-1][:, : min(_RANK, len(vectors))]
    inputs = centred @ main
    size = np.sqrt((inputs**2).sum(axis=1).mean())
    known = labels[:, is_fitted]
    update = _learnt((inputs / max(size, _LEAST_LENGTH)).astype(np.float32), known == 1, known == 0)
    return Head(mean, main + main @ update.astype(np.float64))


def _learnt(inputs: Singles, is_member: npt.NDArray[np.bool_], is_other: npt.NDArray[np.bool_]) -> Singles:
    """Return what to add to the identity, by Adam."""
    draw = np.random.default_rng(0)
    rank = inputs.shape[1]
    update: Singles
    update, first, second = (np.zeros((rank, rank), np.float32) for _ in range(3))
    for step in range(1, _STEPS + 1):
        rows = draw.choice(len(inputs), min(_BATCH, len(inputs)), replace=False)
        slope = _gradient(update, inputs[rows], is_member[rows], is_other[rows]) + _SHRINKAGE * update
        first += (1 - _MOMENTUM) * (slope - first)
        second += (1 - _SQUARES) * (slope**2 - second)
        pace = np.sqrt(second / (1 - _SQUARES**step)) + _TINY
        update -= _RATE * (first / (1 - _MOMENTUM**step)) / pace
    return update


def _gradient(
    update: Singles, inputs: Singles, is_member: npt.NDArray[np.bool_], is_other: npt.NDArray[np.bool_]
) -> Singles:
    """Return the gradient of the loss of a batch for ``update``, shape (rank, rank)."""
    mapped = inputs + inputs @ update
    lengths = np.maximum(np.linalg.norm(mapped, axis=1, keepdims=True), _LEAST_LENGTH)
    units = mapped / lengths
    member, other = is_member.astype(np.float32), is_other.astype(np.float32)
    alike = (member / np.maximum(member.sum(axis=0), 1)) @ member.T  # a vertical of few members weighs as much
    np.fill_diagonal(alike, 0)
    apart = (member @ other.T > 0) & (member @ member.T == 0)
    wanted = alike / np.maximum(alike.sum(axis=1, keepdims=True), _TINY)
    is_pair = apart | (wanted > 0)
    logits = np.where(is_pair, units @ units.T / _TEMPERATURE, -np.inf)
    top = logits.max(axis=1, keepdims=True)
    shares = np.exp(logits - np.where(np.isfinite(top), top, 0))
    found = shares / np.maximum(shares.sum(axis=1, keepdims=True), _TINY)
    is_anchor = (alike.sum(axis=1) > 0) & apart.any(axis=1)
    error = (found - wanted) * is_anchor[:, None] / _TEMPERATURE / max(int(is_anchor.sum()), 1)
    pull = (error + error.T) @ units
    along = (pull * units).sum(axis=1, keepdims=True) * units
    return np.asarray(inputs.T @ ((pull - along) / lengths), np.float32)


@dataclass(frozen=True)
class ContrastiveTagger:
    """A probe on the head's vectors."""

    head: Head
    probe: ProbeTagger

    def probabilities(self, posts: Posts) -> Floats:
        """Return the probabilities; NaN for verticals with too few labels to fit."""
        return self.probe.probabilities(replace(posts, vectors=self.head(posts.vectors).astype(np.float32)))

    @property
    def covers(self) -> npt.NDArray[np.bool_]:
        """The verticals with enough labels."""
        return self.probe.covers

    def parameters(self) -> Mapping[str, npt.NDArray[np.generic]]:
        """Return the head, weights and curves. No row of a post is kept."""
        return {**self.probe.parameters(), "mean": self.head.mean, "directions": self.head.directions}


@dataclass(frozen=True)
class Contrastive:
    """The method. The head is trained inside every fold, so that no curve is fitted on posts that it saw."""

    name: str = "contrastive"
    version: str = "1"

    def fit(self, posts: Posts, labels: Floats, accounts: Texts) -> ContrastiveTagger:
        """Train the head and fit the probe on the labelled posts."""
        probe, head = fit_probe(posts, labels, accounts, train)
        return ContrastiveTagger(head, probe)

    def restore(self, parameters: Mapping[str, npt.NDArray[np.generic]]) -> ContrastiveTagger:
        """Return the tagger with these parameters."""
        mean, directions = (parameters[name].astype(np.float64) for name in ("mean", "directions"))
        return ContrastiveTagger(Head(mean, directions), restore_probe(parameters))
