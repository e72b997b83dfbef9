"""The clock of this machine, compared with a service's."""

from datetime import UTC, datetime, timedelta

import pytest

from pipelines.cli.diagnosis.clock import compare_clocks
from pipelines.cli.diagnosis.registry import Status


@pytest.mark.parametrize(("seconds", "status", "text"), [
    (0, Status.OK, "agree"), (4, Status.OK, "agree"), (-4, Status.OK, "agree"), (60, Status.WARNING, "60 s behind S3"),
    (-60, Status.WARNING, "60 s ahead of S3"), (301, Status.ERROR, "301 s behind S3"),
])  # fmt: skip
def test_a_clock_is_compared_with_the_time_of_the_request(seconds: int, status: Status, text: str) -> None:
    began = datetime(2024, 5, 1, tzinfo=UTC)
    ended = began + timedelta(milliseconds=30)
    there = (ended if seconds > 0 else began) + timedelta(seconds=seconds)
    found = compare_clocks("S3", there, began, ended)
    assert found.status is status
    assert text in found.text
