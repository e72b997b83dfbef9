"""Incidents: the place where a step is stopped, and the fault or concurrent action there."""

import itertools
import random
import signal
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from enum import StrEnum

from tests.chaos.fault_proxy import Decision, Stop
from tests.chaos.worker import Outcome, Worker


class What(StrEnum):
    """The fault or concurrent action at a stopped request."""

    KILL = "kill"
    """Kill the process. The request is lost, or applied and never answered."""
    LATE_REQUEST = "kill, and the request arrives later"
    ERROR = "500"
    SLOW_DOWN = "503"
    RESET = "reset"
    MEANWHILE = "the application goes on meanwhile"
    TWIN = "the same step runs meanwhile"
    OTHER = "the step runs for the other buckets meanwhile"
    WRITER = "the application goes on, and a merge runs, meanwhile"
    FAILOVER = "the database ends its sessions"
    TERMINATE = "SIGTERM"
    INTERRUPT = "SIGINT"
    PROXY = "the next worker starts with a dead proxy"
    ODD_TIMES = "rows get times out of range meanwhile"
    ODD_COLUMNS = "columns that no lake takes are added meanwhile"
    ROW_SECURITY = "row-level security hides all rows for a while"


@dataclass(frozen=True)
class Incident:
    """A place in a step, the incident there, and whether S3 has applied the request before."""

    step: str
    where: str
    what: What
    applied: bool = False

    def may_tell(self, error: str, event: str) -> bool:
        """Return whether a step may end with an error of this type after this incident at this event."""
        if self.step in ("merge", "tidy"):
            return event.endswith(_CREATION) and error in TOLD_OF_CREATION
        return error in TOLD.get(self.what, ())

    @property
    def name(self) -> str:
        """Return a name such as `extract: manifest, kill (applied)`."""
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
"""Step → place → pattern of its events."""
_APPLICABLE = {What.KILL, What.ERROR, What.RESET}
"""Incidents that also happen after S3 has applied a request."""
_SIGNALS = {What.TERMINATE: signal.SIGTERM, What.INTERRUPT: signal.SIGINT}
_OF_SOURCE = {What.ODD_TIMES, What.ODD_COLUMNS, What.ROW_SECURITY}
"""Incidents in the database, at moments when extraction has no transaction open."""
_PROXY_VARIABLES = ("HTTP_PROXY", "http_proxy", "HTTPS_PROXY", "ALL_PROXY", "all_proxy")
_FAULTS = {What.LATE_REQUEST, What.ERROR, What.SLOW_DOWN, What.RESET}
"""Incidents that need a request to S3; an announcement is none."""


def _is_possible(step: str, where: str, what: What, *, applied: bool) -> bool:
    announced = PLACES[step][where].startswith("EVENT")
    return not (
        (applied and what not in _APPLICABLE)
        or (announced and (applied or what in _FAULTS))
        or (what is What.FAILOVER and not (announced or where == "raw file"))
        or (what in _OF_SOURCE and not announced)
        or (what is What.PROXY and where not in ("manifest", "lake commit"))
        or (what is What.OTHER and step != "merge")
        or (what is What.WRITER and step not in ("merge", "tidy"))
    )


TOLD = {
    What.FAILOVER: frozenset({"SourceUnavailableError", "WindowTakenError"}),
    What.ROW_SECURITY: frozenset({"SourcePermissionError"}),
    **dict.fromkeys((What.TWIN, What.MEANWHILE, What.ERROR, What.RESET), frozenset({"WindowTakenError"})),
}
"""Incident → the errors that a step of extraction may end with. The database was gone, or another run completed the
window; that may be this run's own request, answered too late. A merge retries and never fails. Maintenance gives way to
other writers and never fails."""
_CREATION = "/_delta_log/00000000000000000000.json"
TOLD_OF_CREATION = frozenset({"OSError", "CommitFailedError"})
"""Errors when delta-rs creates the table: it does not check whether a request with a lost answer was applied."""
DECKS = {
    step: [
        Incident(step, where, what, applied)
        for where, what, applied in itertools.product(places, What, (False, True))
        if _is_possible(step, where, what, applied=applied)
    ]
    for step, places in PLACES.items()
}
"""Step → all its incidents. Runs take them in turn."""
INCIDENTS = [incident for deck in DECKS.values() for incident in deck]
DIRECTED = 1_000_000_000
"""Seeds from here on direct a run to one incident."""


def directed(incident: Incident, seed: int) -> int:
    """Return a seed from a seed below DIRECTED: the run tries this incident until it happens, before any other."""
    return DIRECTED * (1 + INCIDENTS.index(incident)) + seed


def wanted_by(seed: int) -> Incident | None:
    """Return the incident that a seed directs its run to; None for a seed below DIRECTED."""
    return INCIDENTS[seed // DIRECTED - 1] if seed >= DIRECTED else None


@dataclass
class Late:
    """Delayed requests of killed workers."""

    stops: list[Stop] = field(default_factory=list)

    def arrive(self) -> None:
        """Forward the oldest request."""
        if self.stops:
            stop = self.stops.pop(0)
            stop.let_through()
            stop.close()

    def arrive_all(self) -> None:
        """Forward all requests."""
        while self.stops:
            self.arrive()


@dataclass(frozen=True)
class Bystanders:
    """Concurrent actions while a step is stopped."""

    late: Late
    application: Callable[[], None]
    twin: Callable[[], None]
    other: Callable[[], None]
    writer: Callable[[], None]
    failover: Callable[[], None]
    odd_times: Callable[[], None]
    odd_columns: Callable[[], None]
    row_security: Callable[[], None]


def finish_with(worker: Worker, incident: Incident, draw: random.Random, bystanders: Bystanders) -> tuple[Outcome, str]:
    """Finish a started step whose stop is set. Return its outcome, and the event that it was stopped at."""
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
    if what in _SIGNALS:
        return _finish_signalled(worker, _SIGNALS[what], stop, draw), event
    if what is What.PROXY:
        outcome = worker.kill()
        stop.close()
        names = tuple(draw.sample(_PROXY_VARIABLES, draw.randint(1, len(_PROXY_VARIABLES))))
        worker.place = replace(worker.place, dead_proxies=names)
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
            What.ODD_TIMES: bystanders.odd_times,
            What.ODD_COLUMNS: bystanders.odd_columns,
            What.ROW_SECURITY: bystanders.row_security,
        }
        meanwhile[what]()
        stop.decide(Decision.GO_ON)
    outcome = worker.finish()
    stop.close()
    return outcome, event


def _finish_signalled(worker: Worker, number: signal.Signals, stop: Stop, draw: random.Random) -> Outcome:
    """Send a signal to a stopped worker. Its request is lost or goes on, and the worker runs its cleanup."""
    worker.send(number)
    if stop.event.startswith("EVENT"):
        stop.decide(Decision.GO_ON)
    elif draw.random() < 0.5:
        stop.decide(Decision.RESET)
    else:
        stop.let_through()
    outcome = worker.finish(may_end=True)
    stop.close()
    return outcome


def stop_for(incident: Incident, draw: random.Random) -> Stop:
    """Return the stop of an incident. A step with fewer matching requests runs without it."""
    most = {"any request": 16, "raw file": 2, "lake file": 2, "lake commit": 2}.get(incident.where, 1)
    nth = draw.randint(1, most) if most > 2 else draw.choice((1, 1, most))
    return Stop(PLACES[incident.step][incident.where], nth, incident.applied)
