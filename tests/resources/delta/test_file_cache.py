"""FileCache of files in memory: the last ones used, never more than there is room for."""

from hypothesis import given
from hypothesis import strategies as st

from resources.delta.file_cache import FileCache


def test_a_body_is_fetched_once() -> None:
    bodies, fetched = FileCache(10), iter([b"one"])
    assert bodies.read("t/a", lambda: next(fetched)) == b"one"
    assert bodies.read("t/a", lambda: next(fetched)) == b"one"
    assert bodies.get("t/b") is None


def test_those_that_were_not_used_for_longest_go_first() -> None:
    bodies = FileCache(6)
    bodies.keep("a", b"aa")
    bodies.keep("b", b"bb")
    bodies.keep("c", b"cc")
    assert bodies.get("a") == b"aa"
    bodies.keep("d", b"d")
    assert [bodies.get(name) for name in "abcd"] == [b"aa", None, b"cc", b"d"]


def test_what_there_is_no_room_for_is_not_kept() -> None:
    bodies = FileCache(3)
    bodies.keep("small", b"s")
    assert bodies.read("large", lambda: b"large") == b"large"
    assert bodies.get("large") is None
    assert FileCache(0).read("a", lambda: b"x") == b"x"


@given(st.lists(st.tuples(st.sampled_from("abcdef"), st.integers(0, 7))), st.integers(0, 20))
def test_there_is_never_more_than_the_limit(kept: list[tuple[str, int]], most: int) -> None:
    bodies, newest = FileCache(most), dict[str, bytes]()
    for number, (name, size) in enumerate(kept):
        newest[name] = bytes([number % 256]) * size
        bodies.keep(name, newest[name])
        held = {name: body for name in newest if (body := bodies.get(name)) is not None}
        assert sum(map(len, held.values())) <= most
        assert all(held[name] == newest[name] for name in held)
