"""Benchmarks: `make bench NAME=merge`. One file a bench, each beside its peers in one run, because machines are noisy.

Belongs here: the shape of a result, and the list of benches. Not here: measuring (a bench's own file).
"""

import os
import platform
from dataclasses import asdict, dataclass, field
from importlib.metadata import version
from typing import Any

_VERSIONS = ("dagster", "polars", "pyarrow", "deltalake", "qdrant-edge-py", "onnxruntime")


@dataclass(frozen=True)
class Target:
    """What a figure should be at most (or at least), what it was, and whether that is met."""

    target: float
    got: float
    met: bool

    @classmethod
    def at_most(cls, target: float, got: float) -> "Target":
        """Met when the figure is no more than the target."""
        return cls(target, got, got <= target)


@dataclass(frozen=True)
class BenchResult:
    """The result of a bench: named figures with their units in their names, and targets on some of them."""

    bench: str
    figures: dict[str, float]
    targets: dict[str, Target] = field(default_factory=dict)

    def to_json(self) -> dict[str, Any]:
        """The result with what it was measured on."""
        machine = {"cores": len(os.sched_getaffinity(0)), "processor": platform.machine(), "system": platform.system()}
        versions = {name: version(name) for name in _VERSIONS}
        return {**asdict(self), "machine": machine, "versions": {"python": platform.python_version(), **versions}}
