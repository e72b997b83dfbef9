"""The sensor of snapshot exports: each that is whole is asked for once, and the others are told by what they lack."""

from collections.abc import Collection, Iterator
from dataclasses import dataclass, field
from typing import Any

import pytest
from dagster import DagsterInstance, DagsterRunStatus, SensorResult, job
from hypothesis import given
from hypothesis import strategies as st

from assets.transforms.source.schema import SOURCE_TABLES
from pipelines.automation.sensors.exports import EXPORTS_A_TICK, Inspected, failed_runs, look

WRITING, WHOLE, BROKEN = "is being written", "whole", "FAILED"


@dataclass(frozen=True)
class State:
    is_complete: bool
    is_final: bool
    reason: str


@dataclass(frozen=True)
class Window:
    number: int
    origin: str


@dataclass
class World:
    """Exports by id, and the windows that runs landed, by table: what the sensor asks both about."""

    states: dict[str, str]
    windows: dict[str, list[str]] = field(default_factory=lambda: {table: [] for table in SOURCE_TABLES})
    cursor: str | None = None
    asked: list[str] = field(default_factory=list)
    said: list[str] = field(default_factory=list)
    looks: int = 0

    def listed(self) -> list[str]:
        return [*self.states]

    def completeness(self, export_id: str, tables: Collection[str]) -> State:
        assert {*tables} == {*SOURCE_TABLES}
        self.looks += 1
        state = self.states[export_id]
        return State(state == WHOLE, state != WRITING, "" if state == WHOLE else f"Export {export_id} {state}.")

    def newest(self, source: str, table: str) -> Window | None:
        assert source == "rds_export"
        held = self.windows[table]
        return Window(len(held), held[-1]) if held else None

    def manifests(self, source: str, table: str, after: int = 0) -> Iterator[Window]:
        return (Window(number, origin) for number, origin in enumerate(self.windows[table], start=1) if number > after)

    def land(self, export_id: str) -> None:
        for held in self.windows.values():
            held.append(export_id)

    def look(self, *arguments: Any) -> SensorResult:
        exports_and_windows: Any = self
        return look(self.cursor, exports_and_windows, exports_and_windows, self.said.append, *arguments)

    def tick(self) -> list[str]:
        found = self.look()
        self.cursor = found.cursor
        assert len((self.cursor or "").encode()) < 10_000
        self.said += [found.skip_reason.skip_message or ""] if found.skip_reason else []
        made = [request.run_key or "" for request in found.run_requests or []]
        self.asked += [key for key in made if key not in self.asked]
        return made


def test_a_whole_export_is_landed_by_the_raw_assets_and_asked_for_once() -> None:
    world = World({"export-1": WHOLE})
    found = world.look()
    [request] = found.run_requests or []
    assert request.run_key == "export-1"
    assert request.run_config["ops"].keys() == {f"raw__{table}" for table in SOURCE_TABLES}
    assert all(op == {"config": {"export_id": "export-1"}} for op in request.run_config["ops"].values())
    assert world.tick() == ["export-1"]
    assert [world.tick(), world.tick()] == [[], []]
    assert world.said[-1] == "All 1 exports have landed, were requested, or will never complete."
    assert world.looks == 2


def test_one_that_is_landed_is_known_without_cursor_or_runs() -> None:
    world = World({"export-1": WHOLE, "export-2": WHOLE})
    world.land("export-1")
    world.windows["posts"].append("export-2")  # its run ended before the other tables
    assert world.tick() == ["export-2"]


def test_what_is_being_written_is_said_until_it_is_whole() -> None:
    world = World({"export-1": WRITING})
    assert [world.tick(), world.tick()] == [[], []]
    assert world.said == ["Export export-1 is being written."] * 4
    world.states["export-1"] = WHOLE
    assert world.tick() == ["export-1"]


def test_what_failed_is_said_and_looked_at_once() -> None:
    world = World({"export-1": BROKEN, "export-2": WHOLE})
    assert world.tick() == ["export-2"]
    assert world.said == ["Export export-1 FAILED."]
    assert world.tick() == []
    assert world.said[-1].endswith("These exports will never complete: export-1.")
    assert world.looks == 2
    del world.states["export-1"]
    world.tick()
    assert "Never" not in world.said[-1]


def test_exports_that_are_being_written_do_not_hold_up_the_others() -> None:
    world = World({f"a{number}": WRITING for number in range(3 * EXPORTS_A_TICK)} | {"b": WHOLE, "0": WHOLE})
    for _ in range(4):
        world.tick()
    assert sorted(world.asked) == ["0", "b"]
    assert world.looks <= 4 * EXPORTS_A_TICK


@pytest.mark.parametrize("cursor", [None, "", "{", "null", '{"done": 1}', '{"more": []}'])
def test_a_cursor_that_cannot_be_read_is_none(cursor: str | None) -> None:
    assert Inspected.read(cursor) == Inspected()


def test_many_exports_fit_the_cursor_and_none_is_asked_for_twice_while_it_is_landed() -> None:
    world = World({f"{number:060d}": WHOLE for number in range(500)})
    for _ in range(110):
        for key in world.tick():
            world.land(key)
    assert len(world.asked) == 500


IDS = [f"export-{number}" for number in range(8)]


@given(st.lists(st.tuples(st.sampled_from(["begin", "end", "fail", "tick", "land", "forget"]), st.sampled_from(IDS))))
def test_whatever_happens_every_whole_export_is_asked_for(events: list[tuple[str, str]]) -> None:
    world = World({})
    for kind, export_id in events:
        state = world.states.get(export_id)
        if kind == "begin" and state is None:
            world.states[export_id] = WRITING
        elif kind in {"end", "fail"} and state == WRITING:
            world.states[export_id] = WHOLE if kind == "end" else BROKEN
        elif kind == "tick":
            world.tick()
        elif kind == "land" and export_id in world.asked:
            world.land(export_id)
        elif kind == "forget":
            world.cursor = None
    for _ in range(4):
        world.tick()
    assert {*world.asked} == {export_id for export_id, state in world.states.items() if state == WHOLE}


@job
def landing() -> None: ...


def test_an_export_whose_run_failed_is_named_until_it_is_landed() -> None:
    world = World({"export-1": WHOLE, "export-2": WHOLE})
    world.tick()
    with DagsterInstance.ephemeral() as instance:
        for export_id, status in (
            ("export-1", DagsterRunStatus.FAILURE),
            ("export-2", DagsterRunStatus.FAILURE),
            ("export-2", DagsterRunStatus.STARTED),
        ):
            instance.create_run_for_job(landing, status=status, tags={"cippus/rds_export": export_id})
        assert failed_runs(instance, world.listed()) == {"export-1"}
        assert failed_runs(instance, []) == set()
        found = world.look(lambda ids: failed_runs(instance, ids))
        assert found.skip_reason
        assert found.skip_reason.skip_message == "The runs of these exports failed: export-1. Execute them again."
        world.land("export-1")
        found = world.look(lambda ids: failed_runs(instance, ids))
        assert found.skip_reason
        assert "have landed, were requested" in (found.skip_reason.skip_message or "")
