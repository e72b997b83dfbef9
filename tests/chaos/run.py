"""A seeded run: applications write, extraction and lake go on, things happen to them; in the end, lake = database."""

import random
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import psycopg

from assets.transforms.source.schema import SOURCE_TABLES, SourceTable
from tests.chaos import verdict
from tests.chaos.application import Application, Clocks
from tests.chaos.incidents import DECKS, Bystanders, Incident, Late, What, carry_out, stop_for
from tests.chaos.steps import BUCKETS, STEPS
from tests.chaos.worker import Outcome, Worker
from tests.chaos.world import World

ALL = tuple(range(BUCKETS))
OVERLAP_MILLISECONDS = 300
"""How far below a complete window rows may still appear, in runs whose application clocks are behind."""
_LEAP = 11
"""How far apart in a deck the incidents of one run are."""


class UnexpectedOutcomeError(AssertionError):
    """A step that nothing was done to failed, or one failed in a way that tells nobody what happened."""


@dataclass
class Run:
    """One run of a seed in a world. ``happened`` counts incidents that were reached, ``told`` errors of steps."""

    world: World
    seed: int
    happened: Counter[str] = field(default_factory=Counter)
    told: Counter[str] = field(default_factory=Counter)
    diary: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.draw = random.Random(self.seed)  # noqa: S311  # a seed, no secret
        self.table: SourceTable = SOURCE_TABLES[self.draw.choices(("posts", "testimonials", "accounts"), (3, 2, 1))[0]]
        self.clocks = _clocks(self.draw)
        for worker in self.world.workers:
            worker.place = replace(worker.place, **self.settings)
        self.late = Late()
        self.taken = Counter[str]()
        self.history: dict[str, set[str]] = {}

    @property
    def settings(self) -> dict[str, Any]:
        """What is the run's own of its workers' places. One run in four has its S3 behind the request governor."""
        return {
            "in_pieces": self.seed % 3 == 0,
            "skew_milliseconds": self.clocks.behind_milliseconds,
            "governor_home": str(self.world.governors) if self.seed % 4 == 3 else "",
        }

    def go(self) -> None:
        """Everything, and the verdict. Raises BrokenPromiseError or UnexpectedOutcomeError."""
        self.world.empty()
        with psycopg.connect(self.world.dsn, autocommit=True) as committed:
            committed.execute("SET lock_timeout = '5s'")  # this process would wait for itself
            self.application = Application(
                self.world.dsn,
                self.table,
                self.draw,
                self.clocks,
                committed,
                self.diary,
            )
            try:
                self.application.fill()
                self._remember()
                self._act(2)
                for _ in range(self.draw.randint(2, 3)):
                    self._round()
                self._end()
            finally:
                self.late.arrive_all()
                self.application.end_all()

    def _act(self, times: int = 1) -> None:
        for _ in range(times):
            self.application.act()
            self._remember()

    def _remember(self) -> None:
        """What the keys hold now: extraction may see it."""
        for row in self.application.rows():
            self.history.setdefault(row[self.table.key], set()).add(verdict.state(self.table, row))

    def _round(self) -> None:
        """Writes, an extraction, writes, a merge; what happens to a step is mostly something."""
        for step in STEPS:
            # Comparing all keys would put right what windows have missed, so half of the runs do so at the end alone.
            # The other half has no upkeep before the end.
            if step == ("tidy" if self.seed % 2 == 0 else "reconcile_keys") or (
                step == "reconcile_keys" and self.draw.random() < 0.3
            ):
                continue
            self._act(self.draw.randint(1, 2))
            if step == "extract" and self.draw.random() < 0.6:
                self._leave_something()
            if self.draw.random() < 0.3:
                self.late.arrive()
            incident = self._incident(step) if self.draw.random() < 0.8 else None
            of_all = self.draw.random() < 0.6 and not (incident and incident.what is What.OTHER)
            buckets = ALL if of_all else tuple(sorted(self.draw.sample(ALL, 2)))
            self._step(step, buckets, incident)
            if self.draw.random() < 0.1:
                self._step(step, buckets)  # a tick that came twice

    def _leave_something(self) -> None:
        """Committed rows, which no older transaction holds back; one in two times a newer one is open."""
        self.application.end_all()
        self.application.commit_at_once()
        self._remember()
        if self.draw.random() < 0.5:
            self.application.begin()

    def _incident(self, step: str) -> Incident:
        """One of the deck: each seed begins with the next one, and goes on from there in leaps.

        One that was not reached is tried again.
        """
        deck = DECKS[step]
        return deck[(self.seed + _LEAP * self.taken[step]) % len(deck)]

    def _step(self, step: str, buckets: tuple[int, ...], incident: Incident | None = None) -> None:
        """A step of the first worker, and what happens to it."""
        worker = self.world.workers[0]
        if incident is None:
            self._quietly(worker, step, buckets)
            return
        worker.lane.stop = stop_for(incident, self.draw)
        worker.start(step, self.table.name, buckets)
        outcome, event = carry_out(worker, incident, self.draw, self._bystanders(step, buckets))
        self.diary.append(f"{incident.name} at {event or 'nothing'}: {_ended(outcome)}")
        if event:
            self.happened[incident.name] += 1
            self.taken[step] += 1
        if outcome.error:
            self.told[f"{step}: {outcome.error}"] += 1
            if not (event and incident.may_tell(outcome.error, event)):
                raise UnexpectedOutcomeError(f"{incident.name}, and it ended with: {outcome.text}")

    def _bystanders(self, step: str, buckets: tuple[int, ...]) -> Bystanders:
        def beside(these: tuple[int, ...]) -> Callable[[], None]:
            return lambda: self._quietly(self.world.workers[1], step, these)

        others = tuple(bucket for bucket in ALL if bucket not in buckets)
        return Bystanders(
            self.late,
            self._act_meanwhile,
            beside(buckets),
            beside(others),
            self._write_meanwhile,
            self.application.terminate_workers,
        )

    def _act_meanwhile(self) -> None:
        self._act(self.draw.randint(1, 3))
        if self.draw.random() < 0.5 and self.application.open:
            self.application.end(self.application.open[0])
            self._remember()

    def _write_meanwhile(self) -> None:
        self._act_meanwhile()
        for step in ("extract", "merge"):
            self._quietly(self.world.workers[1], step, ALL)

    def _quietly(self, worker: Worker, step: str, buckets: tuple[int, ...]) -> None:
        """A step that nothing is done to, so that it has to end well."""
        worker.start(step, self.table.name, buckets)
        outcome = worker.finish()
        self.diary.append(f"{step} {buckets if step == 'merge' else ''}: {_ended(outcome)}")
        if outcome.error:
            raise UnexpectedOutcomeError(f"{step} failed although nothing was done to it: {outcome.text}")

    def _end(self) -> None:
        """Nothing happens any more: a last round, and a verdict before and after keys are compared."""
        self.late.arrive_all()
        self.application.end_all()
        self._remember()
        self.application.wait_for_clocks()
        truth = verdict.Truth(self.application.rows(), self.history, self.application.put_back)
        for steps, reconciled in ((("extract", "merge"), False), (("reconcile_keys", "merge", "tidy"), True)):
            self._quietly_all(steps)
            verdict.require_equal(self.world.direct, self.table, truth, reconciled=reconciled)
        verdict.require_contiguous(self.world.direct, self.table)
        if self.seed % 4 == 1:
            self._unchanged()

    def _unchanged(self) -> None:
        """All once more: nothing is written."""
        before = verdict.objects(self.world.direct)
        self._quietly_all(("extract", "merge", "reconcile_keys", "merge", "tidy"))
        if (after := verdict.objects(self.world.direct)) != before:
            new = sorted(key for key in after if before.get(key) != after[key])
            raise verdict.BrokenPromiseError(f"An unchanged rerun wrote {new}, deleted {sorted({*before} - {*after})}.")

    def _quietly_all(self, steps: Sequence[str]) -> None:
        for step in steps:
            self._quietly(self.world.workers[0], step, ALL)

    def story(self) -> str:
        """What happened, in order."""
        return "\n".join([f"table {self.table.name}, clocks {self.clocks.kinds}, {self.settings}", *self.diary])


def _clocks(draw: random.Random) -> Clocks:
    """A third of the runs each: exact clocks, some ahead, some behind as well."""
    chosen = draw.choice((("now",), ("now", "now", "ahead"), ("now", "ahead", "behind", "tie", "put back")))
    return Clocks(chosen, OVERLAP_MILLISECONDS if "behind" in chosen else 0)


def _ended(outcome: Outcome) -> str:
    return "killed" if outcome.killed else outcome.error or "well"


def try_seed(shared: World, seed: int) -> tuple[Run, str]:
    """Run a seed; the run, and how it failed, with the story of how it came about and how to repeat it, or ""."""
    run = Run(shared, seed)
    try:
        run.go()
    except Exception as error:  # whatever it is, the other seeds are still to be tried
        repeat = f'Repeat it: make bench NAME=chaos ARGS="--runs 1 --seed {seed}"'
        return run, f"Seed {seed}: {type(error).__name__}: {error}\n{run.story()}\n{repeat}"
    return run, ""
