"""How many cores this process was given: by affinity, and by the CPU quota of its container."""

import math
import os
from pathlib import Path

_CGROUPS = Path("/sys/fs/cgroup")


def available_cores(cgroups: Path = _CGROUPS) -> int:
    """Cores to keep busy, at least 1. Threads beyond a quota only make each other wait until its next period."""
    allowed = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    quota = _quota(cgroups)
    return allowed if quota is None else max(1, min(allowed, math.ceil(quota)))


def _quota(cgroups: Path) -> float | None:
    """Cores' worth of time that the container may use, from cgroup v2 or else v1; None without a limit."""
    both = _numbers(cgroups / "cpu.max")
    if both is None:
        quota, period = _numbers(cgroups / "cpu/cpu.cfs_quota_us"), _numbers(cgroups / "cpu/cpu.cfs_period_us")
        both = [*quota, *period] if quota and period else None
    if both is None or len(both) != 2 or min(both) <= 0:
        return None
    return both[0] / both[1]


def _numbers(path: Path) -> list[int] | None:
    try:
        return [int(word) for word in path.read_text(encoding="ascii").split()]
    except (OSError, ValueError):  # absent, or "max"
        return None
