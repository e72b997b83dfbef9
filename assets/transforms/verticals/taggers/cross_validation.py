"""Probabilities of labelled posts by taggers that were fitted without their accounts."""

import zlib

import numpy as np
import numpy.typing as npt

from assets.transforms.verticals.taggers.interface import Floats, Method, Posts, Texts

FOLDS = 5


def folds_of(accounts: Texts, folds: int = FOLDS, seed: int = 0) -> npt.NDArray[np.int64]:
    """Return the fold of each post: a hash of its account, the same in every run."""
    numbers = {account: zlib.crc32(account.encode(), seed) % folds for account in np.unique(accounts).tolist()}
    return np.array([numbers[account] for account in accounts.tolist()], np.int64)


def held_out(method: Method, posts: Posts, labels: Floats, accounts: Texts) -> Floats:
    """Return probabilities, shape (posts, verticals), each by a tagger that saw no label of the post's account.

    What a method chooses by itself is chosen inside each fold, so the cross-validation is nested.
    """
    found = np.full(labels.shape, np.nan)
    folds = folds_of(accounts)
    for fold in np.unique(folds):
        left_out = folds == fold
        tagger = method.fit(posts[~left_out], labels[~left_out], accounts[~left_out])
        found[left_out] = tagger.probabilities(posts[left_out])
    return found
