"""Decide which verticals ship: by the evidence of their labels, corrected for the number of verticals tested."""

import datetime as dt
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from assets.transforms.verticals.intervals import Counts, Share

SHIP, DROP, NEEDS_LABELS = "ship", "drop", "needs labels"
ERROR = 0.05
"""Probability, for all verticals together, that one is shipped though it is below its bar."""
_CANDIDATE = 0.9
"""A vertical with a larger P value is no candidate: it is most likely below its bar."""
_LANDAU = 14.0048
"""What a number of Landau's distribution exceeds with probability ERROR."""
POWER = 0.8
MOST_POSITIVES = 5_000
"""More labels than this are not asked for: the vertical is too near its bar to tell."""
_SIZES = np.unique(np.geomspace(10, MOST_POSITIVES, 60).round())


@dataclass(frozen=True)
class Bar:
    """What a vertical must hold to ship."""

    precision: float
    recall: float


@dataclass(frozen=True)
class Override:
    """What a person decided instead, from a day on, and why."""

    decision: str
    date: dt.date
    reason: str


@dataclass(frozen=True)
class Measured:
    """A vertical's precision and recall on items that took no part in its fit."""

    precision: Share
    recall: Share


@dataclass(frozen=True)
class Decision:
    """What the roster says of a vertical. ``more_positives``: further labelled members that would decide it."""

    vertical: str
    status: str
    earned: str
    reason: str
    p_value: float
    level: float
    more_positives: int | None
    override: Override | None


def decide(
    measured: Mapping[str, Measured],
    bars: Mapping[str, Bar],
    shipped: Sequence[str] = (),
    overrides: Mapping[str, Override] | None = None,
) -> list[Decision]:
    """Return a decision for every vertical of ``bars``. ``shipped`` are those that were earned before.

    A vertical enters when its precision and its recall are both proved to be above the bar, at a level that all
    verticals share. It stays while both estimates hold the bar: a vertical does not leave by chance and come back.
    """
    overrides = overrides or {}
    nothing = Measured(Share(0, 0, 0), Share(0, 0, 0))
    found = {name: measured.get(name, nothing) for name in bars}
    values = {name: evidence(found[name], bar) for name, bar in bars.items()}
    levels = levels_of({name: value for name, value in values.items() if name not in shipped})
    decisions = []
    for name, bar in bars.items():
        level = levels.get(name, 0.0)
        stays = name in shipped and _holds(found[name], bar)
        earned, reason, more = _earned(found[name], bar, values[name], level, stays=stays)
        override = overrides.get(name)
        if override is not None:
            said = f"Decided by a person on {override.date}: {override.reason}"
            reason = f"{said} The labels say: {earned}. {reason}"
        status = earned if override is None else override.decision
        decisions.append(Decision(name, status, earned, reason, values[name], level, more, override))
    return decisions


def evidence(measured: Measured, bar: Bar) -> float:
    """Return the P value of "precision or recall is at most its bar": the larger of the two, as both must hold."""
    return max(measured.precision.evidence_above(bar.precision), measured.recall.evidence_above(bar.recall))


def levels_of(values: Mapping[str, float]) -> dict[str, float]:
    """Return the level that each P value is tested at, so that a false one is accepted with probability ERROR.

    Verticals far below their bar have P values near 1 and cost the others nothing: only candidates are tested, with P
    values of at most _CANDIDATE, divided by it (Zhao, Small and Su, JASA 2019). A P value of a vertical below its bar,
    given that it is a candidate, is at least uniform.

    The candidates are tested in closure: one is accepted if in every group of candidates that has it the harmonic mean
    of the P values is small. So verticals that are all somewhat above their bar support each other.
    """
    inverse = {name: _CANDIDATE / max(value, 1e-300) for name, value in values.items() if value <= _CANDIDATE}
    ranked = np.sort(np.array(list(inverse.values())))
    least, levels = _least_sums(len(ranked) + 1), {}
    for name in values:
        others = np.delete(ranked, np.searchsorted(ranked, inverse[name])) if name in inverse else ranked
        of_others = np.concatenate([[0.0], others.cumsum()])  # the least that so many others give
        levels[name] = _CANDIDATE / float((least[: len(of_others)] - of_others).max())
    return levels


def _least_sums(most: int) -> Counts:
    """Return how large the sum of 1 / P must be in groups of 1 to ``most`` P values, none of them of one above its bar.

    Wilson (PNAS 2019). For few P values Landau's law asks for a little too much; for one the exact value is known.
    """
    count = np.arange(1, most + 1)
    sums: Counts = count * (np.log(count) + 1 - np.euler_gamma - np.log(2 / np.pi) + np.pi / 2 * _LANDAU)
    sums[0] = 1 / ERROR
    return sums


def _holds(measured: Measured, bar: Bar) -> bool:
    precision, recall = measured.precision.value, measured.recall.value
    return precision is not None and recall is not None and precision >= bar.precision and recall >= bar.recall


def _earned(measured: Measured, bar: Bar, value: float, level: float, *, stays: bool) -> tuple[str, str, int | None]:
    """Return what the labels say, the sentence that says why, and how many more positives would decide it."""
    shown = f"{_said('precision', measured.precision, bar.precision)}, {_said('recall', measured.recall, bar.recall)}"
    if stays:
        return SHIP, f"It ships and still holds its bar: {shown}.", None
    if value <= level:
        return SHIP, f"Proved above its bar: {shown}.", None
    more = more_positives(measured, bar, level)
    wanted = "" if more is None else f" About {more:,} more labelled members would decide it."
    for name, share, least in (
        ("precision", measured.precision, bar.precision),
        ("recall", measured.recall, bar.recall),
    ):
        if share.evidence_below(least) <= ERROR:
            return DROP, f"Proved below its bar in {name}: {shown}.", None
    if not measured.recall.trials:
        return NEEDS_LABELS, f"No labelled member.{wanted}", more
    if _holds(measured, bar):
        return NEEDS_LABELS, f"Above its bar, but too few labels to be sure: {shown}.{wanted}", more
    return NEEDS_LABELS, f"Not above its bar so far, and not proved below: {shown}.{wanted}", more


def _said(name: str, share: Share, bar: float) -> str:
    if share.value is None:
        return f"{name} not measured (bar {bar:.2f})"
    low, high = share.interval
    return f"{name} {share.value:.2f} ({low:.2f} to {high:.2f}, bar {bar:.2f})"


def more_positives(measured: Measured, bar: Bar, level: float) -> int | None:
    """Return how many more labelled members would decide with probability POWER; None if over MOST_POSITIVES.

    It assumes that further labels look like those so far. Without any, a vertical 10 points above its bar is assumed.
    """
    members = measured.recall.trials
    precision, recall = _expected(measured.precision, bar.precision), _expected(measured.recall, bar.recall)
    if recall <= 0 or precision <= 0:
        return None
    worth = measured.recall.effective / members if members else 1.0
    shares = np.array([precision, recall])
    least = np.array([bar.precision, bar.recall])
    trials = np.stack([_SIZES * worth * recall / precision, _SIZES * worth], axis=1)
    above = _power(trials, shares, least, level).prod(axis=1)
    below = _power(trials, 1 - shares, 1 - least, ERROR).max(axis=1)
    enough = _SIZES[(np.maximum(above, below) >= POWER) & (members < _SIZES)]
    return max(1, round(float(enough[0] - members))) if len(enough) else None


def _expected(share: Share, bar: float) -> float:
    return min(bar + 0.1, 1.0) if share.value is None else share.value


def _power(trials: Counts, share: Counts, bar: Counts, level: float) -> Counts:
    """Return the probability that a share is proved above a bar."""
    from scipy.stats import binom  # a second of imports that most commands and runs do without

    count = np.maximum(trials.round(), 1)
    found: Counts = binom.sf(binom.isf(level, count, bar), count, share)
    return found
