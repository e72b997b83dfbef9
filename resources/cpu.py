"""The number of cores that this process may use, by affinity and by the CPU quota of its container; threads of BLAS."""

import math
import os
from collections.abc import MutableMapping
from pathlib import Path

_CGROUPS = Path("/sys/fs/cgroup")


def available_cores(cgroups: Path = _CGROUPS) -> int:
    """Return the cores to keep busy, at least 1. Threads beyond a quota only wait until its next period."""
    allowed = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    quota = _quota(cgroups)
    return allowed if quota is None else max(1, min(allowed, math.ceil(quota)))


def _quota(cgroups: Path) -> float | None:
    """Return the CPU quota in cores, from cgroup v2 or else v1; None without a limit."""
    numbers = _numbers(cgroups / "cpu.max") or [
        *_numbers(cgroups / "cpu/cpu.cfs_quota_us"),
        *_numbers(cgroups / "cpu/cpu.cfs_period_us"),
    ]
    return numbers[0] / numbers[1] if len(numbers) == 2 and min(numbers) > 0 else None


def _numbers(path: Path) -> list[int]:
    try:
        return [int(word) for word in path.read_text(encoding="ascii").split()]
    except (OSError, ValueError):  # absent, or "max"
        return []


def use_one_blas_thread(variables: MutableMapping[str, str]) -> None:
    """Have NumPy and SciPy multiply matrices in one thread, unless a variable says otherwise. Call it before NumPy.

    Products here are small, and threads that wait for their part spin. Sums then also have one order: a run that is
    killed on one machine and repeated on another, with more cores, has the same results to the last bit.
    """
    variables.setdefault("OPENBLAS_NUM_THREADS", "1")
