"""The rate limit of an endpoint."""

from resources.llm.rate_limit import RateLimit


def test_one_rate_limit_paces_and_pauses_all_requests() -> None:
    slept: list[float] = []
    limit = RateLimit(60, 6_000, clock=lambda: 0.0, sleep=slept.append)
    for tokens in (100, 100, 500, 1):
        limit.wait(tokens)
    assert slept == [1.0, 2.0, 7.0]
    limit.pause(30)
    limit.wait(1)
    assert slept[-1] == 30.0
