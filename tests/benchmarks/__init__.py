"""Benchmarks: `make bench NAME=merge`. Each bench measures its peers in the same run, because machines are noisy.

Belongs here: one module per bench, and the form of a result. Not here: tests of the product.
"""

import os
import platform
from dataclasses import asdict, dataclass, field
from importlib.metadata import version
from typing import Any

_VERSIONS = ("dagster", "polars", "pyarrow", "deltalake", "qdrant-edge-py", "onnxruntime")


@dataclass(frozen=True)
class Target:
    """The upper or lower limit of a figure, its value, and whether it meets the limit."""

    target: float
    got: float
    met: bool

    @classmethod
    def at_most(cls, target: float, got: float) -> "Target":
        """Return a target that is met by a figure up to ``target``."""
        return cls(target, got, got <= target)

    @classmethod
    def at_least(cls, target: float, got: float) -> "Target":
        """Return a target that is met by a figure from ``target`` on."""
        return cls(target, got, got >= target)


@dataclass(frozen=True)
class BenchResult:
    """The result of a bench: figures with their units in their names, and targets for some of them."""

    bench: str
    figures: dict[str, float]
    targets: dict[str, Target] = field(default_factory=dict)

    def to_json(self) -> dict[str, Any]:
        """Return the result with the machine and the versions of libraries."""
        machine = {"cores": len(os.sched_getaffinity(0)), "processor": platform.machine(), "system": platform.system()}
        versions = {name: version(name) for name in _VERSIONS}
        return {**asdict(self), "machine": machine, "versions": {"python": platform.python_version(), **versions}}
