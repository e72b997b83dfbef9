"""Faults of real Qdrant nodes at random moments: `QDRANT_BINARY=/path/to/qdrant make bench NAME=cluster`."""

import time
from collections import Counter
from pathlib import Path

from rich.console import Console

from resources.errors import InputError
from tests.benchmarks import BenchResult, Target
from tests.chaos.bench import own_stack
from tests.cluster.faults import FAULTS
from tests.cluster.nodes import BINARY, started
from tests.cluster.scenarios import OPERATIONS, Scenario, serve_from
from tests.worlds.loaded import loaded_world


def measure(home: Path, console: Console, runs: int = 200, seed: int = 0) -> BenchResult:
    """Run ``runs`` scenarios on one cluster of three nodes. A scenario that fails ends the bench of that cluster."""
    if not BINARY:
        message = "QDRANT_BINARY is not set: give it the path of a Qdrant server."
        raise InputError(message)
    begun, said, skipped, failures, happened = time.perf_counter(), 0, 0, list[str](), Counter[str]()
    seeds = list(range(seed, seed + runs))
    with own_stack() as stack:
        while seeds:
            world = loaded_world(stack).clone(f"cluster_{seeds[0]}", home / f"world-{seeds[0]}")
            with started(home / f"nodes-{seeds[0]}", 3) as nodes:
                serve_from(world, nodes)
                while seeds:
                    scenario = Scenario(world, nodes, seeds.pop(0))
                    if not scenario.fault.is_possible:
                        skipped += 1
                        continue
                    try:
                        scenario.go()
                    except Exception as error:  # the other seeds still run, on new nodes
                        failures.append(scenario.name)
                        console.print(f"seed {scenario.seed}, {scenario.name}: {error!r}", markup=False)
                        break
                    said += len(scenario.said)
                    happened[scenario.name] += 1
                    if (number := sum(happened.values())) % 10 == 0:
                        console.print(f"{number} of {runs} runs, {len(failures)} failed, {said} sentences said")
    figures = {
        "runs": float(sum(happened.values()) + len(failures)),
        "failed": float(len(failures)),
        "skipped, as no disk may be filled": float(skipped),
        "kinds of scenarios": float(len(happened)),
        "sentences said": float(said),
        "seconds a run": (time.perf_counter() - begun) / runs,
    }
    targets = {"failed": Target.at_most(0, len(failures))}
    if runs >= len(OPERATIONS) * len(FAULTS) and not skipped:
        targets["kinds of scenarios"] = Target.at_least(len(OPERATIONS) * len(FAULTS), len(happened))
    return BenchResult("cluster", figures, targets)
