"""Learns one unknown request limit of S3 from 503 SlowDown responses, and paces requests below it.

Pure: no I/O and no clock; `now` is monotonic seconds. One `LearnedRate` is for one prefix (or bucket) and one verb.
"""

from dataclasses import dataclass
from enum import StrEnum


class Verb(StrEnum):
    """S3 limits reads (GET, HEAD, LIST) and writes (PUT, COPY, POST, DELETE) separately."""

    READ = "read"
    WRITE = "write"


@dataclass(frozen=True, slots=True)
class RateSettings:
    """Constants of the algorithm; rates are requests/s, times are seconds."""

    depth: int = 2  # path segments below the bucket assumed to be S3's partition, until 503s show otherwise
    write_ceiling: float = 3500.0  # S3's documented limit of a partitioned prefix
    read_ceiling: float = 5500.0
    initial: float = 500.0  # start rate of a prefix without a 503
    # TCP's slow start is twice too fast: all requests in flight at the first 503 are refused.
    initial_in_flight: int = 2  # requests in flight at the start; each response adds `window_growth`
    window_growth: float = 0.3
    widen_seconds: float = 0.1  # after this time without a response, the window grows by the factor 1 + `window_growth`
    unknown_growth: float = 1.4  # growth of the rate per `growth_interval` until the first 503
    growth_interval: float = 0.25
    busy_share: float = 0.4  # a rate grows only while this share of it was accepted in the last second
    floor: float = 0.25  # 16 hosts that share 4/s
    cut: float = 0.95  # per 503 that is the first after a quiet stretch
    plateau_seconds: float = 2.0  # least time from a cut back to the last failing rate
    plateau_requests: float = 60.0  # least accepted requests in that time: probing wastes at most one in 60
    plateau_longest: float = 15.0  # longest such time while no other host competes
    plateau_competing: float = 60.0  # longest such time while other hosts compete
    overshoot: float = 0.05  # one plateau time after the last failing rate, the rate is this much above it
    learning_growth: float = 0.02  # growth per accepted request from the first 503 until the limit is bracketed
    learning_growth_seconds: float = (
        0.7  # most growth per second then: the rate doubles, and late responses do not compound
    )
    quiet_requests: int = 10  # accepted requests between two 503s from which the second counts as a new probe
    quiet_seconds: float = 0.25  # time between the two 503s that is needed too; before, both belong to one drop
    lateness: float = 0.02  # a timer that is up to this late may catch up; longer bursts are not allowed
    shortest_hold: float = 0.01  # first interval between probes after a 503 without successes
    longest_hold: float = 0.4  # longest interval between such probes
    probe_patience: float = 1.0  # wait this long for a probe's response before the next probe
    poll: float = 0.002  # interval of checks for a response
    hold_growth: float = 2.5  # growth of the interval per refused probe
    bucket_seconds: float = 2.0  # no known server saves up more than this
    max_nodes: int = 10_000
    stale_after: float = 86_400.0  # S3 splits and merges partitions within hours: yesterday's limit is a guess

    def ceiling(self, verb: Verb) -> float:
        """Return the most that one prefix is ever given, in requests/s."""
        return self.write_ceiling if verb is Verb.WRITE else self.read_ceiling


WIDE = 1e9  # a window that limits nothing


class LearnedRate:
    """The rate of one prefix and verb: paces (`ready_at`, `charge`) and learns (`accepted`, `throttled`)."""

    __slots__ = (
        "_best", "_ceiling", "_cut_at", "_cut_sent", "_depth", "_gap", "_grown_at", "_mark_at", "_now_count",
        "_plateau", "_prev_count", "_probe_until", "_progress", "_rapid", "_settings", "_silences", "_silent_from",
        "_since_cut", "_since_mark", "_slot_at", "_started", "_top", "_widen_at",
        "hold_until", "in_flight", "known", "learning", "misses", "next_slot", "rate", "window",
    )  # fmt: skip

    def __init__(self, settings: RateSettings, ceiling: float) -> None:
        self._settings = settings
        self._ceiling = ceiling
        self.rate = min(settings.initial, ceiling)
        self.known = False  # a 503 was attributed to this prefix
        self.learning = False  # there was a 503, and the limit is not bracketed yet
        self.window = float(settings.initial_in_flight)
        self.in_flight = 0
        self.next_slot = 0.0
        self.hold_until = 0.0
        self.misses = 0  # 503s since the last accepted request
        self._widen_at = 0.0
        self._probe_until = 0.0
        self._gap = settings.shortest_hold
        self._slot_at, self._now_count, self._prev_count = 0.0, 0, 0  # accepted in this second and the one before
        self._grown_at = 0.0
        self._cut_at = -1.0
        self._cut_sent, self._since_cut = -1.0, 0
        self._mark_at, self._since_mark = -1.0, 0  # a 503: what was accepted after it shows the limit
        self._silences = 0
        self._silent_from = 0.0
        self._rapid = 0
        self._best = self.rate  # what worked before the last series of 503s
        self._started = -1.0
        self._plateau = settings.plateau_seconds
        self._top, self._depth, self._progress = self.rate, 0.0, 0.0  # the curve of growth, see `_grow`

    # ---- pacing

    def ready_at(self, now: float) -> float:
        """Return when one more request may be sent; `now` or earlier means at once."""
        if now < self._probe_until:
            return now + self._settings.poll  # depends on the response to the probe: check again
        if self.in_flight >= self.window:
            if now < self._widen_at:
                return now + self._settings.poll
            self.window *= 1.0 + self._settings.window_growth  # large bodies take long
            self._widen_at = now + self._settings.widen_seconds
        return self.hold_until if self.hold_until > self.next_slot else self.next_slot

    def charge(self, now: float, cost: int, waited: bool) -> None:
        """Take the slots of one released request.

        A late timer may catch up. So may a prefix without a 503, whose rate is only a guess: a client that sends one
        request after the other need not wait for slots that no other client needs.
        """
        start = now - self._settings.lateness if waited or not self.known else now
        slot = self.next_slot
        self.next_slot = (slot if slot > start else start) + cost / self.rate
        self.in_flight += 1
        if self.misses > 1:
            self._probe_until = now + self._settings.probe_patience

    def probe_failed(self) -> None:
        """Allow another probe after one without a conclusive response."""
        self._probe_until = 0.0

    def refund(self, now: float, cost: float) -> None:
        """Give back unused slots."""
        self.next_slot = max(now, self.next_slot - cost / self.rate)

    # ---- learning

    def accepted(self, now: float, sent_at: float, cost: int, bound: bool) -> None:
        """Count an accepted request; `bound` if it had waited for this rate, so that the rate may grow."""
        settings = self._settings
        age = now - self._slot_at
        if age >= 1.0:
            self._prev_count = self._now_count if age < 2.0 else 0
            self._slot_at = now if age >= 2.0 else self._slot_at + 1.0
            self._now_count = 0
        self._now_count += cost
        if not self.known:
            if self._started < 0.0:
                self._started = now
            if self.in_flight + 2 > self.window:
                self.window += settings.window_growth
        elif sent_at > self._mark_at:
            self._since_mark += cost
            if sent_at > self._cut_sent:
                self._since_cut += cost
                if sent_at >= self._cut_at:
                    if self.misses > 1:
                        self._end_silence(now, sent_at)
                    self.misses = 0
        if bound and self.recent(now) >= settings.busy_share * self.rate:
            self._grow(now, cost)

    def recent(self, now: float) -> float:
        """Return the requests accepted in about the last second."""
        age = now - self._slot_at
        if age >= 2.0:
            return 0.0
        if age >= 1.0:
            return self._now_count * (2.0 - age)
        return self._now_count + self._prev_count * (1.0 - age)

    def _grow(self, now: float, cost: int) -> None:
        settings = self._settings
        if not self.known:
            if now - self._grown_at >= settings.growth_interval:
                self._grown_at = now
                self.rate = min(self.rate * settings.unknown_growth, self._ceiling)
        elif self.learning:
            per_request = min(settings.learning_growth, settings.learning_growth_seconds / self.rate)
            self.rate = min(self.rate * (1.0 + per_request * min(cost, 5)), self._ceiling)
        else:
            # As RFC 9438 (CUBIC): fast up to near the last failing rate, level there, then ever faster.
            step = cost / (self.rate * self._plateau)
            self._progress += step if self._progress < 2.0 else 2.0 * step
            past = self._progress - 1.0
            if past > 0.0 and self._top < 0.9 * self._best:  # half of the way to what worked before, as BIC TCP
                self._top = min((self._top + self._best) / 2, 2 * self._top)
                self._depth, self._progress, past = 1.0 - self.rate / self._top, 0.0, -1.0
            height = self._depth if past < 0.0 else settings.overshoot
            self.rate = min(self._top * (1.0 + height * past * past * past), self._ceiling)

    def throttled(self, now: float, sent_at: float) -> bool:
        """Cut the rate after a 503; return False if the request was sent before the last cut took effect."""
        if sent_at < self._cut_at:
            return False
        self.misses += 1
        if not self.known:
            self._silent_from = now
            self._first_cut(now, sent_at)
            self._hold(now)
        elif self.misses > 1:
            self._hold(now)
        else:
            self._silent_from = now  # requests sent before have arrived before the next
            self._cut(sent_at)
        self._cut_at, self._cut_sent, self._since_cut = now, sent_at, 0
        return True

    def _first_cut(self, now: float, sent_at: float) -> None:
        self.known = self.learning = True
        self._mark_at, self._since_mark = sent_at, 0
        self._best = self.rate / 2
        busy = now - self._started
        if busy > 0.5 and self._now_count + self._prev_count >= 2 * self._settings.quiet_requests:
            self._best = min(self._best, 1.2 * self.recent(now) / min(busy, 1.0))
        self.rate = self._best = max(self._best, self._settings.floor)
        self._rapid = 0
        self._silences = 0
        self.misses = 2  # probe at once

    def _hold(self, now: float) -> None:
        """Send single probes at growing intervals while all requests since the last cut are refused."""
        self._probe_until = 0.0
        gap = max(self._gap, min(1.0 / self.rate, self._settings.longest_hold))
        self.hold_until = self.next_slot = now + gap
        self._gap = min(gap * self._settings.hold_growth, self._settings.longest_hold)
        self.window = WIDE

    def _end_silence(self, now: float, sent_at: float) -> None:
        """Set the rate after the first accepted request, from how long only 503s came."""
        self._gap = self._settings.shortest_hold
        self.hold_until = self._probe_until = 0.0
        self._silences += 1
        if not self.learning:
            return
        silence = sent_at - self._silent_from
        refused = self._cut_sent - self._silent_from  # less than one request was allowed in this time
        estimate = 1.3 / (refused * silence) ** 0.5 if refused > 0.0 else self.rate
        if self._silences <= 2 and refused > 0.0:
            before = float(self._now_count + self._prev_count)
            span = max(sent_at - self._slot_at + (1.0 if self._prev_count else 0.0) - silence, 0.0)
            if refused * before / (self._settings.bucket_seconds + span) > 2.0:
                estimate = before / (1.0 + span)  # no token bucket refills so slowly: the next window has opened
                self.learning = False
                self._mark_at, self._since_mark, self._silences = sent_at, 0, 0
                self._best = before
            else:
                self._best = min(self.rate, estimate)
        self._restart(min(self.rate, estimate))

    def _restart(self, rate: float) -> None:
        self.rate = min(max(rate, self._settings.floor), self._ceiling)
        self._top, self._depth, self._progress = self.rate, 0.0, 1.0
        self._plateau = max(self._plateau, self._shortest_plateau())

    def _shortest_plateau(self) -> float:
        settings = self._settings
        return max(settings.plateau_seconds, min(settings.plateau_requests / self.rate, settings.plateau_longest))

    def restore(self, rate: float) -> None:
        """Continue with a limit learned before."""
        self.known = True
        self.window = WIDE
        self._restart(rate)
        self._best = self.rate
        self._since_cut = self._settings.quiet_requests

    def _cut(self, sent_at: float) -> None:
        """Cut after a 503 among successes: the limit is below the failing rate and above what was accepted."""
        settings = self._settings
        failing = self.rate
        mean = self._since_mark / max(sent_at - self._mark_at, 1e-3)
        quiet = self._since_cut
        least = quiet / max(sent_at - self._cut_sent, 1e-3)
        if quiet < settings.quiet_requests or sent_at - self._cut_sent < settings.quiet_seconds:
            self._rapid += 1
            floor = 0.85 * failing
            if self.learning:
                floor = 0.4 * failing
            elif sent_at - self._mark_at < settings.quiet_seconds:
                floor = 0.85 * self._best  # maybe only the end of a window, seen by several prefixes
            elif self._rapid >= 3 and mean < 0.7 * failing:
                floor = 0.4 * failing  # the limit has dropped
            least = max(least, mean, floor)
            self.learning = self.learning and self._rapid < 6
        else:
            if self._silences and not self.learning:
                least = max(mean, 0.6 * failing)  # a window was used up early each time: its mean is the limit
            else:
                least = max(least, (0.9 if self.learning else 0.85) * failing)
            self.learning = False
            self._rapid = self._silences = 0
            self._mark_at, self._since_mark = sent_at, 0
            self._best = failing
        self._restart(min(failing * settings.cut, least))
        if quiet < settings.plateau_requests * 0.6 and self._rapid <= 1:
            self._plateau = min(self._plateau * 1.25, settings.plateau_competing)
        elif quiet > settings.plateau_requests * 1.5:
            self._plateau = max(self._plateau * 0.8, self._shortest_plateau())
        self._top = min(failing, self.rate / 0.93)
        self._depth = 1.0 - self.rate / self._top
        self._progress = 0.0
