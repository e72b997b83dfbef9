"""Hostile texts through the whole lineage: no output has a control character, markup or a formula of theirs.

`make bench NAME=text` does the same with hundreds of accounts, and measures that every stage takes linear time.
"""

from pathlib import Path

from resources.local_stack import EmbeddedStack
from tests.worlds.text_outputs import text_world
from tests.worlds.text_verdict import JUDGES, faults

CHECKS = ("quarantine/rows:rejects_recorded", "quarantine/rows:dropped_files_taken")

GROUPS = ("raw", "lake", "corpus", "audience", "quarantine", "mart", "quicksight")
"""Search, ask and the page have tests of their own, on worlds that need no run."""


def test_no_output_has_a_control_character_or_markup_of_the_data(stack: EmbeddedStack, tmp_path: Path) -> None:
    with text_world(stack, "hostile_texts", tmp_path, seed=1, accounts=12, size=400, groups=GROUPS) as world:
        outputs = list(world.outputs(CHECKS, served=False))
    assert {output.kind for output in outputs} == set(JUDGES) - {"html"}
    assert [fault for output in outputs for fault in faults(output)] == []
