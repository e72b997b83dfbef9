"""What happens to a step: where it is stopped, and what is done to it there or goes on meanwhile."""

import itertools
import random
from collections.abc import Callable
from dataclasses import dataclass, field
from enum import StrEnum

from tests.chaos.fault_proxy import Decision, Stop
from tests.chaos.worker import Outcome, Worker


class What(StrEnum):
    """What happens at a stopped request."""

    KILL = "kill"
    """The process is killed; the request is lost, or was applied and never answered."""
    LATE_REQUEST = "kill, and the request arrives later"
    ERROR = "500"
    SLOW_DOWN = "503"
    RESET = "reset"
    MEANWHILE = "the application goes on meanwhile"
    TWIN = "the same step runs meanwhile"
    OTHER = "the step runs for the other buckets meanwhile"
    WRITER = "the application goes on, and a merge runs, meanwhile"
    FAILOVER = "the database ends its sessions"


@dataclass(frozen=True)
class Incident:
    """A place in a step, whether S3 has applied the request there, and what happens."""

    step: str
    where: str
    what: What
    applied: bool = False

    def may_tell(self, error: str, event: str) -> bool:
        """Whether a step to which this happened, at that event, may end with an error of that type."""
        if self.step in ("merge", "tidy"):
            return event.endswith(_CREATION) and error in TOLD_OF_CREATION
        return error in TOLD.get(self.what, ())

    @property
    def name(self) -> str:
        """Such as `extract: manifest, kill (applied)`."""
        return f"{self.step}: {self.where}, {self.what}{' (applied)' if self.applied else ''}"


PLACES = {
    "extract": {
        "mark known": "EVENT .*mark",
        "about to read": "EVENT .*read",
        "raw file": "PUT .*/raw/.*part-",
        "manifest": "PUT .*/manifests/",
        "any request": "^[^E]",
    },
    "merge": {
        "lake file": "(PUT|POST) .*/lake/.*parquet",
        "lake commit": r"PUT .*/lake/.*/_delta_log/\d+\.json",
        "any request": "^[^E]",
    },
    "tidy": {
        "lake file": "(PUT|POST) .*/lake/.*parquet",
        "lake commit": r"PUT .*/lake/.*/_delta_log/\d+\.json",
        "any request": "^[^E]",
    },
    "reconcile_keys": {
        "mark known": "EVENT .*mark",
        "raw file": "PUT .*/raw/.*part-",
        "manifest": "PUT .*/manifests/",
        "any request": "^[^E]",
    },
}
"""Step → place → the events there."""
_APPLICABLE = {What.KILL, What.ERROR, What.RESET}
"""What makes a difference after a request was applied; all else is done before."""
_FAULTS = {What.LATE_REQUEST, What.ERROR, What.SLOW_DOWN, What.RESET}
"""What needs a request to S3; the announced moments are none."""


def _is_possible(step: str, where: str, what: What, *, applied: bool) -> bool:
    announced = PLACES[step][where].startswith("EVENT")
    return not (
        (applied and what not in _APPLICABLE)
        or (announced and (applied or what in _FAULTS))
        or (what is What.FAILOVER and not (announced or where == "raw file"))
        or (what is What.OTHER and step != "merge")
        or (what is What.WRITER and step not in ("merge", "tidy"))
    )


TOLD = {
    What.FAILOVER: frozenset({"SourceUnavailableError", "WindowTakenError"}),
    **dict.fromkeys((What.TWIN, What.MEANWHILE, What.ERROR, What.RESET), frozenset({"WindowTakenError"})),
}
"""The errors that a step of extraction may end with: the database was gone, or another run completed the window, which
may be this run's own request that was answered too late. A merge ends well unless it is killed: it tries again. Upkeep
gives way and ends well."""
_CREATION = "/_delta_log/00000000000000000000.json"
TOLD_OF_CREATION = frozenset({"OSError", "CommitFailedError"})
"""But delta-rs makes the table, and asks not what became of a request whose answer was lost. The next merge does."""
DECKS = {
    step: [
        Incident(step, where, what, applied)
        for where, what, applied in itertools.product(places, What, (False, True))
        if _is_possible(step, where, what, applied=applied)
    ]
    for step, places in PLACES.items()
}
"""Step → every incident that it can have. Runs take them in turn, so that a series of runs has them all."""


@dataclass
class Late:
    """Requests of killed workers that have not arrived yet."""

    stops: list[Stop] = field(default_factory=list)

    def arrive(self) -> None:
        """Let the oldest arrive now."""
        if self.stops:
            stop = self.stops.pop(0)
            stop.let_through()
            stop.close()

    def arrive_all(self) -> None:
        """Let all arrive."""
        while self.stops:
            self.arrive()


@dataclass(frozen=True)
class Bystanders:
    """What an incident can make happen while a step is stopped."""

    late: Late
    application: Callable[[], None]
    twin: Callable[[], None]
    other: Callable[[], None]
    writer: Callable[[], None]
    failover: Callable[[], None]


def carry_out(worker: Worker, incident: Incident, draw: random.Random, bystanders: Bystanders) -> tuple[Outcome, str]:
    """Finish a step that was started with an incident's stop set; its outcome, and the event that it was stopped at."""
    stop = worker.lane.stop
    if stop is None or not worker.reaches(stop):
        worker.lane.stop = None
        outcome = worker.finish()
        if stop is not None:
            stop.close()
        return outcome, ""
    what, event = incident.what, stop.event
    if what in (What.KILL, What.LATE_REQUEST):
        outcome = worker.kill()
        if what is What.LATE_REQUEST:
            bystanders.late.stops.append(stop)
        else:
            stop.close()
        return outcome, event
    if what in (What.ERROR, What.SLOW_DOWN, What.RESET):
        stop.decide(Decision(what.value))
    else:
        if draw.random() < 0.5:
            bystanders.late.arrive()
        meanwhile = {
            What.MEANWHILE: bystanders.application,
            What.TWIN: bystanders.twin,
            What.OTHER: bystanders.other,
            What.WRITER: bystanders.writer,
            What.FAILOVER: bystanders.failover,
        }
        meanwhile[what]()
        stop.decide(Decision.GO_ON)
    outcome = worker.finish()
    stop.close()
    return outcome, event


def stop_for(incident: Incident, draw: random.Random) -> Stop:
    """Where an incident stops its step; a step that has fewer such requests goes through undisturbed."""
    most = {"any request": 16, "raw file": 2, "lake file": 2, "lake commit": 2}.get(incident.where, 1)
    nth = draw.randint(1, most) if most > 2 else draw.choice((1, 1, most))
    return Stop(PLACES[incident.step][incident.where], nth, incident.applied)
