"""What every tagger has: it is fitted on labelled posts, and gives probabilities from their features alone."""

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Protocol, Self

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
Texts = npt.NDArray[np.str_]


@dataclass(frozen=True)
class Posts:
    """Features of posts, one row each.

    ``vectors``: unit vectors (posts, dimension). ``nearness`` to the verticals' descriptions (posts, verticals), in
    standard deviations above a post's mean. ``languages``: code of the text's language, empty if uncertain.
    """

    vectors: npt.NDArray[np.float32]
    nearness: Floats
    languages: Texts

    def __len__(self) -> int:
        """Return the number of posts."""
        return len(self.nearness)

    def __getitem__(self, rows: npt.NDArray[np.intp] | npt.NDArray[np.bool_] | slice) -> Self:
        """Return some of the posts."""
        return type(self)(**{field.name: getattr(self, field.name)[rows] for field in fields(self)})


class Tagger(Protocol):
    """A fitted method."""

    def probabilities(self, posts: Posts) -> Floats:
        """Return calibrated probabilities, shape (posts, verticals); NaN where the tagger abstains."""

    @property
    def covers(self) -> npt.NDArray[np.bool_]:
        """Which verticals it tags, shape (verticals); it abstains from the others."""

    def parameters(self) -> Mapping[str, npt.NDArray[np.generic]]:
        """Return the arrays that `Method.restore` makes the same tagger of."""


class Method(Protocol):
    """A way of tagging that can be fitted on labels."""

    @property
    def name(self) -> str:
        """Name of the method."""

    @property
    def version(self) -> str:
        """Version of its rules."""

    def fit(self, posts: Posts, labels: Floats, accounts: Texts) -> Tagger:
        """Fit on posts with ``labels``, shape (posts, verticals): 1 member, 0 not, NaN unlabelled.

        ``accounts``: the account of each post. An account's posts are never on both sides of an inner fold.
        """

    def restore(self, parameters: Mapping[str, npt.NDArray[np.generic]]) -> Tagger:
        """Return the tagger with these parameters."""
