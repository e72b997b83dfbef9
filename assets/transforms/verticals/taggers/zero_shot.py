"""Zero-shot: how near a post lies to the descriptions of a vertical, calibrated where there are labels."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from assets.transforms.verticals.taggers.calibration import Calibration, calibrate
from assets.transforms.verticals.taggers.interface import Floats, Posts, Texts

ZERO_SHOT = "zero_shot"
_DEFAULT_SLOPE = 2.0
"""Of the curve before any label. On tweets and video posts the common slope was 1.5 to 2.5."""


@dataclass(frozen=True)
class ZeroShotTagger:
    """Calibrated nearness."""

    calibration: Calibration

    def probabilities(self, posts: Posts) -> Floats:
        """Return a probability for every post and vertical; it never abstains."""
        return self.calibration.probabilities(posts.nearness, posts.languages)

    @property
    def covers(self) -> npt.NDArray[np.bool_]:
        """Every vertical has descriptions."""
        return np.ones(self.calibration.slope.shape[1], np.bool_)

    def parameters(self) -> Mapping[str, npt.NDArray[np.generic]]:
        """Return the curves."""
        return self.calibration.parameters()


@dataclass(frozen=True)
class ZeroShot:
    """The method. ``default_thresholds``: the nearness of probability one half of a vertical without labels."""

    default_thresholds: Sequence[float]
    name: str = ZERO_SHOT
    version: str = "1"

    def fit(self, posts: Posts, labels: Floats, accounts: Texts) -> ZeroShotTagger:
        """Calibrate on the labels; without any, return the default curves."""
        thresholds = np.array(self.default_thresholds)
        default = Calibration.default(np.full(len(thresholds), _DEFAULT_SLOPE), -_DEFAULT_SLOPE * thresholds)
        return ZeroShotTagger(calibrate(posts.nearness, labels, posts.languages, default))

    def restore(self, parameters: Mapping[str, npt.NDArray[np.generic]]) -> ZeroShotTagger:
        """Return the tagger with these curves."""
        return ZeroShotTagger(Calibration.restore(parameters))
