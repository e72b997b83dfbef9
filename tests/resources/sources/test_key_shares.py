"""Keys in shares on disk: equal keys come together, and no file is left."""

from pathlib import Path

import polars as pl
import pytest

from resources.sources.key_shares import KeyShares


def test_shares_bring_equal_keys_together_and_leave_no_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    left = [pl.DataFrame({"key": [f"{n}" for n in range(first, first + 100)]}) for first in range(0, 1000, 100)]
    right = [pl.DataFrame({"key": [f"{n}" for n in range(500, 1500)], "x": range(1000)})]
    with KeyShares(7) as shares:
        assert shares.add("left", {"key": pl.String()}, left) == 1000
        assert shares.add("right", {"key": pl.String(), "x": pl.Int64()}, right) == 1000
        pairs = list(shares.paired("left", "right"))
        assert list(tmp_path.iterdir())
    assert list(tmp_path.iterdir()) == []
    assert len(pairs) == 7
    assert max(ours.height for ours, _ in pairs) < 300
    assert sum(ours.join(theirs, on="key").height for ours, theirs in pairs) == 500
    assert sum(ours.height for ours, _ in pairs) == 1000


def test_small_tables_are_one_share_and_large_ones_many() -> None:
    assert [KeyShares.of(rows).count for rows in (0, 1, 500_000, 500_001, 10**12)] == [1, 1, 1, 2, 1024]
    with KeyShares(1) as shares:
        shares.add("left", {"key": pl.String()}, [])
        shares.add("right", {"key": pl.String()}, [pl.DataFrame({"key": ["a"]})])
        [(left, right)] = shares.paired("left", "right")
        assert (left.height, right.height) == (0, 1)
