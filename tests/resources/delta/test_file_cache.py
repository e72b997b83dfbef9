"""The file cache keeps the most recently used files, up to its size."""

from hypothesis import given
from hypothesis import strategies as st

from resources.delta.file_cache import FileCache


def test_a_body_is_fetched_once() -> None:
    cache, fetched = FileCache(10), iter([b"one"])
    assert cache.read("t/a", lambda: next(fetched)) == b"one"
    assert cache.read("t/a", lambda: next(fetched)) == b"one"
    assert cache.get("t/b") is None


def test_those_that_were_not_used_for_longest_go_first() -> None:
    cache = FileCache(6)
    cache.keep("a", b"aa")
    cache.keep("b", b"bb")
    cache.keep("c", b"cc")
    assert cache.get("a") == b"aa"
    cache.keep("d", b"d")
    assert [cache.get(name) for name in "abcd"] == [b"aa", None, b"cc", b"d"]


def test_what_there_is_no_room_for_is_not_kept() -> None:
    cache = FileCache(3)
    cache.keep("small", b"s")
    assert cache.read("large", lambda: b"large") == b"large"
    assert cache.get("large") is None
    assert FileCache(0).read("a", lambda: b"x") == b"x"


@given(st.lists(st.tuples(st.sampled_from("abcdef"), st.integers(0, 7))), st.integers(0, 20))
def test_there_is_never_more_than_the_limit(kept: list[tuple[str, int]], most: int) -> None:
    cache, newest = FileCache(most), dict[str, bytes]()
    for number, (name, size) in enumerate(kept):
        newest[name] = bytes([number % 256]) * size
        cache.keep(name, newest[name])
        held = {name: body for name in newest if (body := cache.get(name)) is not None}
        assert sum(map(len, held.values())) <= most
        assert all(held[name] == newest[name] for name in held)
