"""The methods by name, and their fitted parameters as bytes."""

import io
from collections.abc import Mapping, Sequence
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from assets.transforms.verticals.taggers.contrastive import Contrastive
from assets.transforms.verticals.taggers.interface import Method, Tagger
from assets.transforms.verticals.taggers.probe import PROBE, Probe
from assets.transforms.verticals.taggers.zero_shot import ZERO_SHOT, ZeroShot

STANDING = (ZERO_SHOT, PROBE)
"""Methods that score every post. Another one is a candidate: measured beside them, it scores only while it tags."""


def methods(default_thresholds: Sequence[float]) -> dict[str, Method]:
    """Return the methods that a machine fits and runs by itself, by name. The first needs no labels."""
    known: list[Method] = [ZeroShot(default_thresholds), Probe(), Contrastive()]
    return {method.name: method for method in known}


class Packable(Protocol):
    """Something fitted, whose parameters are arrays."""

    def parameters(self) -> Mapping[str, npt.NDArray[np.generic]]:
        """Return the arrays."""


def packed(tagger: Packable) -> bytes:
    """Return a tagger's parameters; equal parameters give equal bytes."""
    return packed_arrays(tagger.parameters())


def unpacked(method: Method, parameters: bytes) -> Tagger:
    """Return the tagger of ``packed`` parameters."""
    return method.restore(unpacked_arrays(parameters))


def packed_arrays(arrays: Mapping[str, npt.NDArray[np.generic]]) -> bytes:
    """Return named arrays as bytes; equal arrays give equal bytes."""
    named: dict[str, Any] = dict(sorted(arrays.items()))
    out = io.BytesIO()
    np.savez(out, **named)
    return out.getvalue()


def unpacked_arrays(body: bytes) -> Mapping[str, Any]:
    """Return the arrays of ``packed_arrays``."""
    with np.load(io.BytesIO(body), allow_pickle=False) as arrays:
        return dict(arrays)
