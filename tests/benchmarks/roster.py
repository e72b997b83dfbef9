"""Decide the roster on simulated labelled sets whose truth is known.

Nobody publishes a roster that is decided by labels, so there is no peer: the truth is the reference, and the bound that
no test can pass.
"""

from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console
from scipy.stats import binom

from assets.transforms.verticals.roster import ERROR, Bar
from resources.catalogues import load_verticals
from tests.benchmarks import BenchResult, Target
from tests.worlds.roster_trials import BELOW, CLEAR, FAMILY, HARDEST, TEN, Trial, trial

POSITIVES = (100, 200, 300, 500)
USUAL = Bar(0.7, 0.5)
HIGH = Bar(0.85, 0.85)
"""A bar near 1, where 100 positives say more: the spread of a share is smaller there."""


def measure(_home: Path, console: Console, runs: int = 1_000, seed: int = 0) -> BenchResult:
    """Decide ``runs`` sets at the catalogue's bars with several numbers of positives, and at a high bar."""
    bars = [Bar(found.bar.precision, found.bar.recall) for found in load_verticals()]
    seeds, figures = range(seed, seed + runs), dict[str, float]()
    for positives in POSITIVES:
        found = [trial(one, bars, positives) for one in seeds]
        figures |= _figures(f"catalogue's bars, {positives} positives", found)
        figures[f"bound of any test at bars of .70 and .50, {positives} positives"] = bound(USUAL, positives)
        console.print(f"{positives} positives: done", highlight=False)
    figures |= _figures("just below the bars", [trial(one, bars, 100, HARDEST) for one in seeds])
    figures["bound of any test at bars of .85, 100 positives"] = bound(HIGH, 100)
    figures |= _figures("bars of .85, 100 positives", [trial(one, [HIGH] * len(bars)) for one in seeds])
    alone = [BELOW if kind == BELOW else CLEAR for kind in FAMILY[1:]]
    figures |= _figures(
        "bars of .85, 100 positives, one candidate",
        [trial(one, [HIGH] * len(bars), 100, [TEN, *alone]) for one in seeds],
    )
    wrong = max(value for name, value in figures.items() if name.startswith("wrongly shipped"))
    covered = min(value for name, value in figures.items() if name.startswith("covered"))
    named = "shipped of ten points above, catalogue's bars, 100 positives"
    return BenchResult(
        "roster",
        figures,
        {
            "sets with a vertical wrongly shipped": Target.at_most(0.05, wrong),
            "truths covered by their interval": Target.at_least(0.93, covered),
            named: Target.at_least(0.8, figures[named]),
        },
    )


def bound(bar: Bar, positives: int, error: float = ERROR) -> float:
    """Return the most that a test of one vertical alone can ship that lies ten points above its bar in both.

    The vertical could be at its bar in one of the two only, so no test does better than the most powerful one of that
    one, here with randomised ties and posts that are all independent.
    """
    called = round(positives * (bar.recall + 0.1) / (bar.precision + 0.1))
    powers = []
    for trials, least in ((called, bar.precision), (positives, bar.recall)):
        cut = binom.isf(error, trials, least)
        ties = (error - binom.sf(cut, trials, least)) / binom.pmf(cut, trials, least)
        powers.append(binom.sf(cut, trials, least + 0.1) + ties * binom.pmf(cut, trials, least + 0.1))
    return float(min(powers))


def _figures(name: str, found: Sequence[Trial]) -> dict[str, float]:
    shipped: Counter[str] = sum((one.shipped for one in found), Counter())
    decided: Counter[str] = sum((one.decided for one in found), Counter())
    return {
        f"wrongly shipped, share of sets, {name}": sum(one.wrong for one in found) / len(found),
        f"covered, share of truths, {name}": sum(one.covered for one in found) / sum(one.intervals for one in found),
        f"shipped of ten points above, {name}": shipped[TEN] / decided[TEN],
    }
