"""Arrivals: in 10,000 histories nothing is missed and nothing is taken in twice, with a cursor of fixed size."""

import random
from dataclasses import dataclass, field

import pytest
from hypothesis import given
from hypothesis import strategies as st

from assets.transforms.source.arrivals import NOTHING, Sweep, digest, identity, outstanding, request_key

HISTORIES, CHUNKS, RULE = 200, 2, "rule"
KEYS = [f"landing/{name}" for name in ("a", "a-b", "a.b", "a/b", "a/b/c", "b", "é", "x" * 1000)]


@dataclass(frozen=True)
class Object:
    key: str
    etag: str


@dataclass
class Bucket:
    """A bucket whose listing order is its own, as servers' are; a mark holds its place whatever is deleted."""

    place: dict[str, int]
    held: dict[str, str] = field(default_factory=dict)
    versions: int = 0

    def put(self, key: str, etag: str) -> None:
        self.versions += self.held.get(key) != etag
        self.held[key] = etag

    def page(self, mark: str, size: int) -> tuple[list[Object], str]:
        after = int(mark) if mark else -1
        rest = sorted((key for key in self.held if self.place[key] > after), key=self.place.__getitem__)
        shown = [Object(key, self.held[key]) for key in rest[:size]]
        return shown, str(self.place[shown[-1].key]) if len(rest) > size else ""


@dataclass
class Run:
    """A run between its listing and its end, when the bucket may already be another."""

    number: int
    listed: list[Object]


@dataclass
class History:
    """A sensor, the runs that it asked for, and a bucket that changes meanwhile. Dagster runs a key once."""

    chance: random.Random
    bucket: Bucket
    size: int
    cursor: str | None = None
    keys: set[str] = field(default_factory=set)
    queued: int = 0
    started: int = 0
    running: Run | None = None
    intake: tuple[str, str] = (NOTHING, "none")
    taken: dict[str, Object] = field(default_factory=dict)
    takes: int = 0
    longest: int = 0

    def tick(self, *, is_stored: bool = True) -> None:
        """One tick; one whose cursor is not stored, because the daemon died, is repeated by the next."""
        sweep = Sweep.read(self.cursor)
        objects, mark = self.bucket.page(sweep.page, self.size)
        sweep = sweep.with_page(objects, mark, RULE)
        self.longest = max(self.longest, len(sweep.written().encode()))
        if not mark:
            key = request_key(sweep.digest, *self.intake)
            if key is not None and key not in self.keys:
                self.keys.add(key)
                self.queued += 1
            sweep = Sweep()
        if is_stored:
            self.cursor = sweep.written()

    def start(self) -> None:
        if self.queued and self.running is None:
            self.queued, self.started = self.queued - 1, self.started + 1
            self.running = Run(self.started, [Object(key, etag) for key, etag in self.bucket.held.items()])

    def end(self) -> None:
        """The run takes in what is outstanding, keeps the record of it, and says what it has taken in."""
        if self.running is None:
            return
        fresh, gone = outstanding(self.running.listed, self.taken, RULE)
        self.takes += len(fresh)
        self.taken = {name: found for name, found in {**self.taken, **fresh}.items() if name not in gone}
        self.intake, self.running = (digest(self.running.listed, RULE), str(self.running.number)), None

    def step(self) -> None:
        key, chance = self.chance.choice(KEYS), self.chance.random()
        if chance < 0.25:
            self.bucket.put(key, self.chance.choice("xyz"))
        elif chance < 0.40:
            self.bucket.held.pop(key, None)
        elif chance < 0.70:
            self.tick(is_stored=self.chance.random() < 0.8)
        elif chance < 0.85:
            self.start()
        elif chance < 0.98:
            self.end()
        else:
            self.cursor = self.chance.choice([None, "{", "null", '{"seen": "x"}', '{"nomber": 1}', '{"digest": 1}'])

    def settle(self) -> None:
        """Nothing changes any more: at most two sweeps and their runs later, nothing is asked for."""
        for _ in range(3):
            self.sweep()
            if not self.queued and not self.running:
                return
            while self.queued or self.running:
                self.start()
                self.end()
        message = "a run is asked for again and again"
        raise AssertionError(message)

    def sweep(self) -> None:
        """The rest of a sweep, and a whole one."""
        for _ in range(2):
            self.tick()
            while Sweep.read(self.cursor).page:
                self.tick()


def history(seed: int) -> History:
    chance = random.Random(seed)  # noqa: S311  # histories, and no secrets
    places = list(range(len(KEYS)))
    chance.shuffle(places)
    return History(chance, Bucket(dict(zip(KEYS, places, strict=True))), size=chance.randrange(2, 6))


@pytest.mark.parametrize("chunk", range(CHUNKS))
def test_nothing_is_missed_and_nothing_is_taken_twice(chunk: int) -> None:
    taken = 0
    for seed in range(chunk, HISTORIES, CHUNKS):
        found = history(seed)
        for _ in range(found.chance.randrange(10, 60)):
            found.step()
        found.settle()
        assert {done.key: done.etag for done in found.taken.values()} == found.bucket.held, seed
        assert len(found.taken) == len(found.bucket.held), seed
        assert found.takes <= found.bucket.versions, f"{seed}: something was taken twice"
        assert found.longest < 10_000, seed
        asked, takes = len(found.keys), found.takes
        found.settle()
        assert (len(found.keys), found.takes) == (asked, takes), f"{seed}: asked again though nothing had changed"
        taken += takes
    assert taken > HISTORIES // CHUNKS


def of(*objects: Object) -> str:
    return digest(objects, RULE)


A, B = Object("a", "1"), Object("b", "1")


def test_what_was_taken_in_asks_for_nothing() -> None:
    assert request_key(of(), NOTHING, "none") is None
    assert request_key(of(A, B), of(B, A), "run") is None
    assert request_key(of(A), NOTHING, "run") == f"run-{of(A)}"
    assert request_key(of(), of(A), "run") == f"run-{NOTHING}"


def test_an_object_that_a_run_took_and_that_is_gone_before_a_sweep_saw_it_is_noticed() -> None:
    first = request_key(of(A), NOTHING, "none")
    assert request_key(of(A), of(A, B), "run") not in {None, first}  # B came before the run, and went after it


def test_a_prefix_that_returns_to_an_earlier_state_asks_under_another_key() -> None:
    taken, run, keys = NOTHING, "none", set()
    for number, etag in enumerate("1212"):
        keys.add(request_key(of(Object("a", etag)), taken, run))
        taken, run = of(Object("a", etag)), f"run{number}"
    assert None not in keys
    assert len(keys) == 4


@given(st.lists(st.tuples(st.text(max_size=3), st.text(max_size=2)), max_size=6, unique_by=lambda pair: pair[0]))
def test_equal_digests_are_equal_objects(pairs: list[tuple[str, str]]) -> None:
    objects = [Object(key, etag) for key, etag in pairs]
    whole = digest(objects, RULE)
    assert digest(reversed(objects), RULE) == whole
    assert digest(objects[2:], RULE, digest(objects[:2], RULE)) == whole
    for at, found in enumerate(objects):
        rest = [*objects[:at], *objects[at + 1 :]]
        assert digest(rest, RULE) != whole
        assert digest([*rest, Object(found.key, found.etag + "x")], RULE) != whole
        if found.etag:
            assert digest([*rest, Object(found.key + found.etag, "")], RULE) != whole
        assert digest(objects, RULE + "x") != whole


def test_what_is_outstanding() -> None:
    old, same, new = Object("a", "1"), Object("b", "1"), Object("a", "2")
    taken = {identity(old, RULE), identity(same, RULE)}
    fresh, gone = outstanding([new, same], taken, RULE)
    assert (dict(fresh), set(gone)) == ({identity(new, RULE): new}, {identity(old, RULE)})
    assert len(outstanding([new, same], taken, "another rule")[0]) == 2
