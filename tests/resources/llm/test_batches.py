"""Batches: whatever a provider or a crash does, nothing is paid twice, and nothing that was paid is lost."""

from decimal import Decimal

import pytest

from resources.llm.batches.results import LOST
from resources.llm.request import Answer, Unanswered
from tests.fakes.batch_server import BY_USAGE, FAULTS
from tests.worlds.batches import REQUESTS, BatchWorld

UNDISTURBED = BatchWorld().play()
STEPS = UNDISTURBED.steps


def test_an_undisturbed_batch_is_made_once_and_leaves_nothing() -> None:
    assert UNDISTURBED.problems() == []
    assert len(UNDISTURBED.answers) == len(REQUESTS)
    assert UNDISTURBED.account.requests["POST /batches"] == 1
    before = UNDISTURBED.account.requests.copy()
    UNDISTURBED.run()
    assert UNDISTURBED.account.requests == before
    for answer in UNDISTURBED.table.values():
        assert isinstance(answer, Answer)
        assert answer.value is not None
        assert Decimal(answer.usd) > 0


NOT_BEDROCKS = ("upload", "download", "delete", "done: foreign ids")
"""Faults of a provider's own files: Bedrock reads and writes those of our S3. Its answers have no ids of their own."""
CASES = [
    *(("openai", fault) for fault in FAULTS),
    *(("together", fault) for fault in FAULTS if fault not in BY_USAGE),
    *(("bedrock", fault) for fault in FAULTS if not fault.startswith(NOT_BEDROCKS)),
]


@pytest.mark.parametrize(("provider", "fault"), CASES)
def test_a_fault_ends_right(fault: str, provider: str) -> None:
    world = BatchWorld(fault, provider=provider).play()
    assert world.problems() == []
    if "billed by" not in fault and fault not in {"done: never a file", "done: some refused"}:
        assert world.answers == UNDISTURBED.answers
    assert world.account.times == 0, "the fault did not happen"


@pytest.mark.parametrize(
    ("provider", "fault"),
    [
        *(("together", fault) for fault in BY_USAGE),
        *(
            ("openai", fault)
            for fault in ("done: missing, no counts", "done: missing, billed by counts", "batch: gone")
        ),
        *(("bedrock", fault) for fault in ("done: missing, no counts", "batch: gone")),
    ],
)
def test_what_nobody_can_know_stays_charged_and_is_not_sent_again(fault: str, provider: str) -> None:
    world = BatchWorld(fault, provider=provider).play()
    lost = [found for found in world.table.values() if isinstance(found, Unanswered)]
    assert {found.reason for found in lost} == {LOST}
    assert world.charged > world.account.usd
    assert not world.paid_twice()
    assert world.account.requests["POST /batches"] == 1


def test_a_lost_answer_to_create_is_found_among_other_peoples_batches() -> None:
    world = BatchWorld("create: answer lost").play()
    assert world.account.requests["POST /batches"] == 1
    assert world.account.requests["GET /batches"] >= 3, "all pages of the list are read"


@pytest.mark.parametrize("start", range(5))
def test_a_process_that_ends_at_any_step_changes_nothing(start: int) -> None:
    for step in range(1 + start, STEPS + 1, 5):
        world = BatchWorld(crash_at=[step]).play()
        assert (step, world.problems()) == (step, [])
        assert world.answers == UNDISTURBED.answers
        assert world.crashes == 1


def test_a_lost_answer_of_the_store_at_any_write_changes_nothing() -> None:
    for step in range(2, STEPS + 1, 3):
        world = BatchWorld(lose_writes_at=[step]).play()
        assert (step, world.problems()) == (step, [])


@pytest.mark.parametrize("fault", ["create: answer lost", "ended: expired", "upload: answer lost", "create: garbage"])
def test_crashes_and_faults_together_change_nothing(fault: str) -> None:
    for step in range(5, 70, 13):
        world = BatchWorld(fault, crash_at=[step, step + 9, step + 31]).play()
        assert (step, world.problems()) == (step, [])


def test_a_file_that_is_too_large_goes_in_parts() -> None:
    world = BatchWorld(most_lines=2).play()
    assert world.problems() == []
    assert world.account.requests["POST /batches"] == 4
    assert world.answers == UNDISTURBED.answers


def test_under_a_ceiling_as_much_is_sent_as_fits() -> None:
    whole = UNDISTURBED.account.usd
    world = BatchWorld(ceiling=whole * 4)
    for _ in range(4):
        world.run()
    assert 0 < world.account.usd <= world.ceiling
    assert world.charged <= world.ceiling
    none = BatchWorld(ceiling=Decimal("0.000001"))
    none.run()
    assert none.account.requests["POST /batches"] == 0
    assert all("The ceiling of project" in reason for reason in none.waiting.values())


def test_another_run_that_sends_meanwhile_keeps_this_one_from_sending() -> None:
    world = BatchWorld()
    first, second = world.lane(), world.lane()
    assert len(list(second.find(["x"]))) == 0
    assert len(list(first.ask(REQUESTS))) == len(REQUESTS)
    assert {isinstance(found, Unanswered) for found in second.ask(REQUESTS[:3])} == {True}
    assert world.account.requests["POST /batches"] == 1


def test_batches_that_always_fail_are_not_sent_all_the_time() -> None:
    world = BatchWorld("ended: failed", times=99)
    for _ in range(30):
        world.run()
    assert 2 <= world.account.requests["POST /batches"] <= 6
    assert world.account.usd == world.charged == 0
    assert any("nothing is sent before" in reason for reason in world.waiting.values())
