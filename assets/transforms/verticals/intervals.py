"""Intervals of precision, recall and F1 whose items come in accounts, and the evidence that a share is above a bar."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Counts = npt.NDArray[np.float64]
LEVEL = 0.95
_PRIOR_ACCOUNTS = 30.0
"""A vertical with this many accounts has half of its own and half of all verticals' correlation within an account."""
DRAWS = 1_000
_AT_ONCE = 100
_SEED = 20_261_129


@dataclass(frozen=True)
class Share:
    """A measured share: ``hits`` of ``trials``, and the number of independent trials that say as much."""

    hits: float
    trials: float
    effective: float

    @property
    def value(self) -> float | None:
        """Return the share; None without trials."""
        return self.hits / self.trials if self.trials else None

    @property
    def interval(self) -> tuple[float, float]:
        """Return Wilson's interval at LEVEL, on the effective trials; (0, 1) without trials."""
        low, high = wilson(self.hits * self._scale, self.effective)
        return float(low), float(high)

    @property
    def _scale(self) -> float:
        return self.effective / self.trials if self.trials else 0.0

    def evidence_above(self, bar: float) -> float:
        """Return the mid-P value of "the share is at most the bar": small when the share is above it; 1 without trials.

        The binomial tail at real counts is the incomplete beta function.
        """
        return _upper_tail(self.hits * self._scale, self.effective, bar) if self.trials else 1.0

    def evidence_below(self, bar: float) -> float:
        """Return the mid-P value of "the share is at least the bar"; 1 without trials."""
        return _upper_tail((self.trials - self.hits) * self._scale, self.effective, 1 - bar) if self.trials else 1.0


def _upper_tail(hits: float, trials: float, bar: float) -> float:
    from scipy.special import betainc  # half a second of imports that a search does without

    def reaches(least: float) -> float:
        if least <= 0:
            return 1.0
        return float(betainc(least, trials - least + 1, bar)) if least <= trials else 0.0

    return (reaches(hits) + reaches(hits + 1)) / 2


def wilson(hits: npt.ArrayLike, trials: npt.ArrayLike, level: float = LEVEL) -> tuple[Counts, Counts]:
    """Return the bounds of Wilson's score interval; (0, 1) without trials. Counts may be fractions."""
    from scipy.special import ndtri  # half a second of imports that a search does without

    counted = np.asarray(trials, dtype=np.float64)
    known = np.where(counted > 0, counted, 1.0)
    z = float(ndtri((1 + level) / 2))
    share, spread = np.asarray(hits, dtype=np.float64) / known, z * z / known
    middle = (share + spread / 2) / (1 + spread)
    half = z / (1 + spread) * np.sqrt(share * (1 - share) / known + spread / (4 * known))
    low, high = np.where(counted > 0, middle - half, 0.0), np.where(counted > 0, middle + half, 1.0)
    return np.clip(low, 0.0, 1.0), np.clip(high, 0.0, 1.0)


def correlation(hits: Counts, trials: Counts) -> float:
    """Return how alike the trials of one account are: 0 like those of others, 1 all the same.

    By the pairs of trials of one account: the mean product of their deviations over the variance of all. ``hits`` and
    ``trials`` are per account.
    """
    total = trials.sum()
    pairs = (trials * (trials - 1)).sum()
    if not pairs:
        return 0.0
    share = hits.sum() / total
    variance = share * (1 - share)
    if not variance:
        return 0.0
    deviation = hits - trials * share
    squares = hits * (1 - share) ** 2 + (trials - hits) * share**2
    return float(np.clip(((deviation**2 - squares).sum() / pairs) / variance, 0.0, 1.0))


def shares(hits: Counts, trials: Counts) -> list[Share]:
    """Return the share of every vertical. ``hits`` and ``trials`` have the shape (accounts, verticals).

    Posts of one account are alike, so they say less than as many accounts. By Kish's design effect n trials are worth
    n / (1 + (m − 1) r), with m the mean size of a trial's account. r is the vertical's own correlation, drawn to that
    of all verticals where its accounts are few.
    """
    own = np.array([correlation(hits[:, place], trials[:, place]) for place in range(hits.shape[1])])
    accounts = (trials > 1).sum(axis=0)
    common = float((own * accounts).sum() / accounts.sum()) if accounts.sum() else 0.0
    found = []
    for place in range(hits.shape[1]):
        of_accounts, total = trials[:, place], float(trials[:, place].sum())
        likeness = (own[place] * accounts[place] + common * _PRIOR_ACCOUNTS) / (accounts[place] + _PRIOR_ACCOUNTS)
        size = float((of_accounts**2).sum() / total) if total else 1.0
        found.append(Share(float(hits[:, place].sum()), total, total / (1 + (size - 1) * likeness)))
    return found


def f1(true: Counts, called: Counts, members: Counts) -> Counts:
    """Return F1; 0 where nothing is a member and nothing is called."""
    both = called + members
    return np.divide(2 * true, both, out=np.zeros_like(both, dtype=np.float64), where=both > 0)


def resampled(counts: Counts, draws: int = DRAWS) -> Counts:
    """Return sums over accounts drawn with replacement, shape (draws, …). ``counts``: (accounts, …). Seeded.

    Memory: _AT_ONCE × accounts × 8 bytes beside the result.
    """
    accounts, chance = counts.shape[0], np.random.default_rng(_SEED)
    even, parts = np.full(accounts, 1 / max(accounts, 1)), []
    for first in range(0, draws, _AT_ONCE):
        weights = chance.multinomial(accounts, even, size=min(_AT_ONCE, draws - first))
        parts.append(np.tensordot(weights.astype(np.float64), counts, axes=1))
    return np.concatenate(parts)


def percentiles(values: Counts, level: float = LEVEL) -> tuple[float, float]:
    """Return the interval that the middle of the draws fills."""
    low, high = np.quantile(values, [(1 - level) / 2, (1 + level) / 2])
    return float(low), float(high)
