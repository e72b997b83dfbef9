"""What a cosine of an encoder's vectors means: every constant that was fitted on the cosines of one encoder."""

import math
from dataclasses import dataclass


@dataclass(frozen=True)
class CosineScale:
    """Limits and weights of cosines.

    ``near``: from here a sentence fits a topic, whatever its words. ``alike``: from here it fits with ``covered`` of
    the topic's IDF weights. ``supported``: least cosine of a claim with a sentence of its posts. ``same``: two
    sentences say the same. ``weight_of_words``: of the covered share, beside a cosine. ``intercept``, ``meaning`` and
    ``words``: relevance is ceiling / (1 + exp(-(intercept + meaning · cosine + words · covered share))).
    """

    near: float
    alike: float
    supported: float
    same: float
    weight_of_words: float
    intercept: float
    meaning: float
    words: float
    covered: float = 0.6
    ceiling: float = 0.84

    def fits(self, cosine: float, covered: float) -> bool:
        """Return whether a text fits a topic: it means the same, or has its words and a similar meaning."""
        return cosine >= self.near or (covered >= self.covered and cosine >= self.alike)

    def score(self, cosine: float, covered: float) -> float:
        """Return how well a sentence fits a topic, for sorting; higher is better."""
        return round(cosine + self.weight_of_words * covered, 5)

    def relevance(self, cosine: float | None, covered: float) -> float:
        """Return the estimated share of such posts that readers would call relevant, 0 to 1."""
        odds = self.intercept + self.meaning * (cosine or 0.0) + self.words * covered
        return round(self.ceiling / (1 + math.exp(-odds)), 4)


# Relevance of MiniLM was fitted on 12,108 judged results (36% relevant) for the descriptions of 22 verticals on YouTube
# videos: in each tenth of the estimates, the judged share is within .06 of it (AUC .72 on verticals left out of the
# fit). Labels disagree even on the best results, hence the ceiling. The limits of answers are set so that an answer is
# rather missing than wrong: of 15 questions that no video of the YouTube sample answers, 14 had no answer, and of 14
# about its subjects 9 had one.
_MINILM = CosineScale(
    near=0.58, alike=0.3, supported=0.5, same=0.95, weight_of_words=0.3, intercept=-3.3, meaning=11.3, words=4.2
)
# Limits of the others let as many unrelated titles and descriptions of 372 English videos pass as MiniLM's do. Related
# ones pass as often or more: near .51 (MiniLM .40), alike .86 (.87). Relevance was fitted on 5,056 judged results for
# queries in English, French and Russian: each tenth is within .06 (AUC .69 on verticals left out; MiniLM .56).
_E5_CENTRED = CosineScale(
    near=0.47, alike=0.26, supported=0.47, same=0.95, weight_of_words=0.2, intercept=-3.1, meaning=11.9, words=2.2
)
# With the mean in its vectors, as an endpoint returns them: all cosines are between .7 and 1.
_E5 = CosineScale(
    near=0.865, alike=0.82, supported=0.866, same=0.99, weight_of_words=0.27, intercept=-17.4, meaning=20.0, words=5.3
)
SCALES = {
    "multilingual-e5-small@1571fc98/centred-1": _E5_CENTRED,
    "multilingual-e5-small": _E5,
    "all-MiniLM-L6-v2": _MINILM,
}
"""A part of a model's name → its scale, the first that the name contains."""


def scale_of(model: str) -> CosineScale:
    """Return the scale of a model by its name; that of MiniLM for a model that nothing was fitted on."""
    return next((scale for part, scale in SCALES.items() if part in model), _MINILM)
