"""The best candidates of an engine: ties go by id, and scores are finite."""

import math
from collections.abc import Sequence

from resources.vectors.index import Payloads, best_candidates
from resources.vectors.values import Candidate


def payloads(ids: Sequence[str]) -> Payloads:
    return {id_: {"of": id_} for id_ in ids}


def test_a_tie_that_begins_at_the_cut_goes_by_id() -> None:
    engine = [Candidate("a", 1.0, {}), Candidate("z", 0.5, {}), Candidate("y", 0.5, {}), Candidate("b", 0.5, {})]
    found = best_candidates(lambda wanted, _: engine[:wanted], payloads, 2)
    assert [candidate.id for candidate in found] == ["a", "b"]


def test_a_tie_goes_by_id_however_long_it_is_and_costs_the_payloads_of_the_best() -> None:
    asked = []
    engine = [Candidate("best", 0.9, {}), *(Candidate(f"{n:05d}", 0.5, {}) for n in reversed(range(20_000)))]

    def fetch(wanted: int, shown: bool) -> list[Candidate]:
        asked.append((wanted, shown))
        return engine[:wanted]

    found = best_candidates(fetch, lambda ids: {id_: {"of": id_} for id_ in ids if id_ != "00001"}, 4)
    assert [candidate.id for candidate in found] == ["best", "00000", "00002"], "and one was deleted meanwhile"
    assert found[1].payload == {"of": "00000"}
    assert asked[:2] == [(5, True), (20, False)]
    assert asked[-1] == (20_480, False)


def test_what_has_no_finite_score_is_left_out() -> None:
    engine = [
        Candidate("z", math.nan, {}),
        Candidate("b", 0.5, {}),
        Candidate("y", math.inf, {}),
        Candidate("a", 0.9, {}),
    ]
    for limit in (1, 2, 3):
        found = best_candidates(lambda wanted, _: engine[:wanted], payloads, limit)
        assert [candidate.id for candidate in found] == ["a", "b"][:limit]
