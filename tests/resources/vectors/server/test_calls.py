"""Calls of a server: retries, their waits, and one clear error when it refuses or is not there."""

import socket

import pytest
from qdrant_client.common.client_exceptions import ResourceExhaustedResponse
from tenacity import RetryCallState, stop_after_attempt, wait_none

from resources.errors import is_transient
from resources.vectors.server.calls import RETRY
from resources.vectors.server.generations import ServerGenerations
from resources.vectors.values import IndexAccessError, IndexUnavailableError, VectorIndexError
from tests.fakes.answering_qdrant import SECRET, qdrant_that_answers

AT_ONCE = RETRY.copy(stop=stop_after_attempt(3), wait=wait_none())


@pytest.mark.parametrize(("asked", "expected"), [(0, [0.2, 0.4, 0.8, 1.6]), (1, [1, 1, 1, 1.6])])
def test_waits_double_and_are_at_least_what_the_server_asks_for(asked: int, expected: list[float]) -> None:
    failed = ResourceExhaustedResponse("too many requests", asked)
    waits = []
    for attempt in range(1, 5):
        state = RetryCallState(RETRY, None, (), {})
        state.attempt_number = attempt
        state.set_exception((type(failed), failed, None))
        waits.append(RETRY.wait(state))
    assert waits == pytest.approx(expected)


def test_transient_failures_are_tried_again() -> None:
    with qdrant_that_answers(503, 429, 200) as (url, asked), ServerGenerations.connect(url, retry=AT_ONCE):
        assert len(asked) == 3


@pytest.mark.parametrize(
    ("status", "tries", "kind"),
    [
        (503, 3, IndexUnavailableError),
        (500, 3, IndexUnavailableError),
        (401, 1, IndexAccessError),
        (403, 1, IndexAccessError),
    ],
)
@pytest.mark.filterwarnings("ignore:Api key is used with an insecure connection")
def test_a_server_that_refuses_is_one_clear_error_without_the_key(
    status: int, tries: int, kind: type[VectorIndexError]
) -> None:
    with qdrant_that_answers(status) as (url, asked):
        address = url.removeprefix("http://")
        with (
            pytest.raises(kind, match=address) as raised,
            ServerGenerations.connect(url, SECRET, retry=AT_ONCE),
        ):
            pass
    assert len(asked) == tries
    assert is_transient(raised.value) == (kind is IndexUnavailableError)
    assert SECRET not in str(raised.value)


def test_no_server_is_one_clear_error() -> None:
    with socket.socket() as reserved:  # bound and not listening: nobody else gets the port, and nobody answers
        reserved.bind(("127.0.0.1", 0))
        port = reserved.getsockname()[1]
        with (
            pytest.raises(IndexUnavailableError, match=rf"127.0.0.1:{port} does not answer: .* \(3 attempts\)"),
            ServerGenerations.connect(f"http://127.0.0.1:{port}", retry=AT_ONCE),
        ):
            pass
