"""A bad value in the launchpad fails a run at once, with a sentence, before anything is read."""

from typing import Any

import pytest
from dagster import materialize

from assets.raw.windows import ASSETS, RawConfig
from assets.transforms.source.key_comparison import VanishedLimit


@pytest.mark.parametrize(("bad", "sentence"), [
    ({"max_vanished_share": 3.0}, "max_vanished_share is 3; it must be between 0 and 1."),
    ({"max_vanished_share": -0.1}, "max_vanished_share is -0.1; it must be between 0 and 1."),
    ({"max_vanished_share": float("nan")}, "max_vanished_share is nan; it must be between 0 and 1."),
    ({"max_vanished_keys": -1, "allow_vanished": True}, "max_vanished_keys is -1; it must be 0 or more."),
])  # fmt: skip
def test_a_bad_limit_fails_at_once(bad: dict[str, Any], sentence: str) -> None:
    names = ("source", "rds_exports", "raw_store", "lake", "quarantine", "erasures")
    config = {"ops": {"raw__posts": {"config": bad}}}
    unused = dict.fromkeys(names, object())
    result = materialize([ASSETS[1]], run_config=config, resources=unused, raise_on_error=False)
    [failed] = result.get_step_failure_events()
    assert failed.step_failure_data.error
    assert failed.step_failure_data.error.message == f"Failed: {sentence}\n"
    assert not [event for event in result.all_events if event.is_step_up_for_retry]


def test_a_limit_can_be_lifted_for_one_run() -> None:
    assert RawConfig(max_vanished_share=0.5, max_vanished_keys=0).limit() == VanishedLimit(0.5, 0)
    assert RawConfig(allow_vanished=True).limit() is None
