"""A seeded run: applications write while incidents hit extraction and lake. At the end, lake = database."""

import random
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import psycopg

from assets.transforms.source.schema import SOURCE_TABLES, Policy, SourceTable
from resources.sources.postgres import SOURCE
from tests.chaos import verdict
from tests.chaos.application import Application, Clocks
from tests.chaos.incidents import DECKS, Bystanders, Incident, Late, What, finish_with, stop_for, wanted_by
from tests.chaos.oddities import Oddities
from tests.chaos.steps import BUCKETS, STEPS
from tests.chaos.worker import Outcome, Worker
from tests.chaos.world import World

ALL = tuple(range(BUCKETS))
OVERLAP_MILLISECONDS = 300
"""How far below a complete window rows may still appear, when application clocks are behind."""
_MENDED, _MENDED_AT_THE_END = 0.15, 0.5
"""Probability that an odd row is mended after a transaction, and before the last round."""
_LEAP = 11
"""Distance in the deck between the incidents of one run."""


class UnexpectedOutcomeError(AssertionError):
    """A step failed without an incident, or with an error that does not describe its incident."""


@dataclass
class Run:
    """One run of a seed in a world. ``happened`` counts the incidents reached, ``told`` the errors of steps."""

    world: World
    seed: int
    happened: Counter[str] = field(default_factory=Counter)
    told: Counter[str] = field(default_factory=Counter)
    diary: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.draw = random.Random(self.seed)  # noqa: S311  # not a secret
        self.table: SourceTable = SOURCE_TABLES[self.draw.choices(("posts", "testimonials", "accounts"), (3, 2, 1))[0]]
        self.clocks = _clocks(self.draw)
        for worker in self.world.workers:
            worker.place = replace(worker.place, **self.settings)
        self.late = Late()
        self.taken = Counter[str]()
        self.wanted = wanted_by(self.seed)
        self.history: dict[str, set[str]] = {}

    @property
    def settings(self) -> dict[str, Any]:
        """Return the run's settings for its workers. One run in four uses the request governor."""
        return {
            "in_pieces": self.seed % 3 == 0,
            "skew_milliseconds": self.clocks.behind_milliseconds,
            "governor_home": str(self.world.governors) if self.seed % 4 == 3 else "",
        }

    def go(self) -> None:
        """Run all rounds, and verify the result. Raises BrokenPromiseError or UnexpectedOutcomeError."""
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
            self.oddities = Oddities(self.application)
            try:
                self.application.fill()
                self._remember()
                self._act(2)
                for _ in range(self.draw.randint(2, 3)):
                    self._round()
                self._end()
            finally:
                self.oddities.hide_rows(hidden=False)
                self.late.arrive_all()
                self.application.end_all()

    def _act(self, times: int = 1) -> None:
        for _ in range(times):
            self.application.act()
            self.oddities.mend(_MENDED)
            self._remember()

    def _remember(self) -> None:
        """Record the current rows, which extraction may see."""
        for row in self.application.rows():
            self.history.setdefault(row[self.table.key], set()).add(verdict.state(self.table, row))

    def _round(self) -> None:
        """Run each step once, with writes before it and, for four steps in five, with an incident."""
        for step in STEPS:
            # Comparing all keys corrects any rows that windows have missed, so half of the runs do it at the end only.
            # The other half has no maintenance before the end.
            is_wanted = self._is_wanted(step)
            is_left_out = step == ("tidy" if self.seed % 2 == 0 else "reconcile_keys") or (
                step == "reconcile_keys" and self.draw.random() < 0.3
            )
            if is_left_out and not is_wanted:
                continue
            self._act(self.draw.randint(1, 2))
            if step == "extract" and self.draw.random() < 0.6:
                self._leave_something()
            if self.draw.random() < 0.3:
                self.late.arrive()
            incident = self._incident(step) if is_wanted or self.draw.random() < 0.8 else None
            of_all = self.draw.random() < 0.6 and not (incident and incident.what is What.OTHER)
            buckets = ALL if of_all else tuple(sorted(self.draw.sample(ALL, 2)))
            self._step(step, buckets, incident)
            if self.draw.random() < 0.1:
                self._step(step, buckets)  # a duplicate tick

    def _is_wanted(self, step: str) -> bool:
        """Return whether the seed directs the run to an incident of this step, which has not happened yet."""
        return self.wanted is not None and self.wanted.step == step and not self.happened[self.wanted.name]

    def _leave_something(self) -> None:
        """Commit rows while no older transaction is open. In half of the cases, begin a newer one."""
        self.application.end_all()
        self.application.commit_at_once()
        self._remember()
        if self.draw.random() < 0.5:
            self.application.begin()

    def _incident(self, step: str) -> Incident:
        """Return the next incident of the deck. Each seed starts at another, and an unreached one is retried."""
        if self.wanted and self._is_wanted(step):
            return self.wanted
        deck = DECKS[step]
        return deck[(self.seed + _LEAP * self.taken[step]) % len(deck)]

    def _step(self, step: str, buckets: tuple[int, ...], incident: Incident | None = None) -> None:
        """Run a step on the first worker, with an incident."""
        worker = self.world.workers[0]
        if incident is None:
            self._quietly(worker, step, buckets)
            return
        worker.lane.stop = stop_for(incident, self.draw)
        worker.start(step, self.table.name, buckets)
        outcome, event = finish_with(worker, incident, self.draw, self._bystanders(step, buckets))
        self.diary.append(f"{incident.name} at {event or 'nothing'}: {_ended(outcome)}")
        if event:
            self.happened[incident.name] += 1
            self.taken[step] += 1
        if outcome.error:
            self.told[f"{step}: {outcome.error}"] += 1
            if not (event and incident.may_tell(outcome.error, event)):
                raise UnexpectedOutcomeError(f"{incident.name} ended with an unexpected error: {outcome.text}")
        if event:
            self._while_refused(incident.what)

    def _while_refused(self, what: What) -> None:
        """Run ticks while the source refuses extraction, which must land nothing. Then end the refusal."""
        is_frozen = what is What.ODD_COLUMNS and self.table.policy is Policy.FREEZE
        if not (is_frozen or what is What.ROW_SECURITY):
            return
        before = self._windows()
        for step in self.draw.sample(("extract", "reconcile_keys", "merge"), 3):
            self._quietly(self.world.workers[0], step, ALL, "ContractError" if is_frozen else "SourcePermissionError")
        if self._windows() != before:
            raise UnexpectedOutcomeError(f"Extraction landed a window although {what}.")
        if is_frozen:
            self.oddities.drop_columns()
        else:
            self.oddities.hide_rows(hidden=False)

    def _windows(self) -> int:
        return len(list(self.world.direct.raw_store.manifests(SOURCE, self.table.name)))

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
            self.oddities.spoil,
            self.oddities.add_columns,
            self.oddities.hide_rows,
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

    def _quietly(self, worker: Worker, step: str, buckets: tuple[int, ...], may_tell: str = "") -> None:
        """Run a step without an incident; it must succeed, or end with the error ``may_tell``."""
        worker.start(step, self.table.name, buckets)
        outcome = worker.finish()
        self.diary.append(f"{step} {buckets if step == 'merge' else ''}: {_ended(outcome)}")
        if outcome.error and may_tell == outcome.error:
            self.told[f"{step}: {outcome.error}"] += 1
        elif outcome.error:
            raise UnexpectedOutcomeError(f"{step} failed without an incident: {outcome.text}")

    def _end(self) -> None:
        """Run a last round without incidents, and verify before and after the comparison of keys."""
        self.late.arrive_all()
        self.application.end_all()
        self.oddities.mend(_MENDED_AT_THE_END)
        self._remember()
        self.application.wait_for_clocks()
        odd = self.oddities.now, self.oddities.ever
        truth = verdict.Truth(self.application.rows(), self.history, self.application.put_back, *odd)
        for steps, reconciled in ((("extract", "merge"), False), (("reconcile_keys", "merge", "tidy"), True)):
            self._quietly_all(steps)
            verdict.require_equal(self.world.direct, self.table, truth, reconciled=reconciled)
        verdict.require_contiguous(self.world.direct, self.table)
        verdict.require_quarantined(self.world.direct, self.table, truth)
        if self.seed % 4 == 1:
            self._unchanged()

    def _unchanged(self) -> None:
        """Run all steps again; they must write nothing."""
        before = verdict.objects(self.world.direct)
        self._quietly_all(("extract", "merge", "reconcile_keys", "merge", "tidy"))
        if (after := verdict.objects(self.world.direct)) != before:
            new = sorted(key for key in after if before.get(key) != after[key])
            raise verdict.BrokenPromiseError(f"An unchanged rerun wrote {new}, deleted {sorted({*before} - {*after})}.")

    def _quietly_all(self, steps: Sequence[str]) -> None:
        for step in steps:
            self._quietly(self.world.workers[0], step, ALL)

    def story(self) -> str:
        """Return the settings and the diary of the run."""
        return "\n".join([f"table {self.table.name}, clocks {self.clocks.kinds}, {self.settings}", *self.diary])


def _clocks(draw: random.Random) -> Clocks:
    """Draw the clocks. A third of the runs each: exact; some ahead; some behind as well."""
    chosen = draw.choice((("now",), ("now", "now", "ahead"), ("now", "ahead", "behind", "tie", "put back")))
    return Clocks(chosen, OVERLAP_MILLISECONDS if "behind" in chosen else 0)


def _ended(outcome: Outcome) -> str:
    return "killed" if outcome.killed else outcome.error or "well"


def try_seed(shared: World, seed: int) -> tuple[Run, str]:
    """Run a seed. Return the run and, if it failed, the error with its diary and the command to repeat it."""
    run = Run(shared, seed)
    try:
        run.go()
    except Exception as error:  # the other seeds still run
        repeat = f'Repeat it: make bench NAME=chaos ARGS="--runs 1 --seed {seed}"'
        return run, f"Seed {seed}: {type(error).__name__}: {error}\n{run.story()}\n{repeat}"
    return run, ""
