"""Streamed answers: paid once, and charged for all that may be billed."""

import pytest

from resources.errors import CippusError
from resources.llm.request import UnansweredError
from tests.fakes import llm_server
from tests.fakes.llm_server import Provider
from tests.fakes.spend_store import MemoryStore
from tests.worlds.llm import Open, faults
from tests.worlds.spend import charged, requests


def test_streaming_yields_the_text_and_settles(opened: Open, provider: Provider, store: MemoryStore) -> None:
    request = requests(1)[0]
    with opened() as llm:
        list(llm.ask([request]))
        assert "".join(llm.stream(request)) == '{"echo": 7}'
    assert len(provider.bills) == 1


def test_an_unanswered_stream_says_why(opened: Open, provider: Provider) -> None:
    faults(provider, llm_server.DROP_ANSWER)
    request = requests(1)[0]
    with opened() as llm:
        list(llm.ask([request]))
    with opened() as llm, pytest.raises(UnansweredError, match="nobody knows"):
        list(llm.stream(request))


@pytest.mark.parametrize(
    ("fault", "text", "is_settled"),
    [
        (llm_server.LIMIT, '{"echo": 7}', True),
        (llm_server.DROP_ANSWER, None, False),
        (llm_server.GARBAGE, None, False),
        (llm_server.CUT, None, False),
    ],
)
def test_a_stream_is_paid_once_and_charged_for_all_that_may_be_billed(
    opened: Open, provider: Provider, store: MemoryStore, fault: str, text: str | None, *, is_settled: bool
) -> None:
    faults(provider, fault)
    request = requests(1)[0]
    with opened() as llm:
        if text is None:
            with pytest.raises(CippusError):
                list(llm.stream(request))
        else:
            assert "".join(llm.stream(request)) == text
    assert len(provider.bills) == 1
    assert (charged(store) == provider.usd) is is_settled
    assert charged(store) >= provider.usd


def test_a_reader_that_stops_early_leaves_the_call_charged(
    opened: Open, provider: Provider, store: MemoryStore
) -> None:
    provider.text = lambda _: "word " * 20
    with opened() as llm:
        parts = llm.stream(requests(1)[0])
        assert next(parts) == "word word word w"
        parts.close()
    assert charged(store) > provider.usd
