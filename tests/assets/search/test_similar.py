"""More of the same: what sets an account apart."""

from collections.abc import Iterable

from assets.search.memory import Memory
from assets.search.terms import Terms
from tests.worlds.small_site import SmallSite


class Counted(Terms):
    """Terms of a corpus of 100 chunks, whose counts are given."""

    def _documents_with(self, terms: Iterable[int]) -> dict[int, int]:
        return {term: count for term, count in {1: 60, 2: 5, 3: 4}.items() if term in set(terms)}

    def _count_documents(self) -> int:
        return 100


def test_what_sets_an_account_apart_is_what_few_others_and_not_only_it_say(site: SmallSite) -> None:
    thanks, topic, own_name = 1, 2, 3
    strength = Counted(Memory(site.lake)).distinctive({thanks: 4, topic: 2, own_name: 4})
    assert sorted(strength, key=strength.__getitem__) == [thanks, topic]
