"""Pairs of posts to train an encoder on: hard negatives mined in bounded memory, and balanced sets of pairs."""

import zlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice

import numpy as np
import numpy.typing as npt
import polars as pl

Vectors = npt.NDArray[np.float32]
SETS = (1_000, 10_000, 15_000)
"""Sizes of the sets of pairs; each set is the beginning of the next."""
ANCHORS = 50
"""Members of a vertical that negatives are mined for."""
NEGATIVES = 5
_MARGIN = 0.95
"""An unlabelled post this near, as a share of the nearest other member's similarity, may be a member itself."""
NEGATIVE_COLUMNS = ["account_id", "vertical", "anchor_id", "item_id", "similarity", "is_labelled"]
_DECIMALS = 5
_EMPTY = {name: pl.String() for name in ("account_id", "vertical", "anchor_id", "item_id")} | {
    "similarity": pl.Float64(), "is_labelled": pl.Boolean()
}  # fmt: skip


def choose_anchors(gold: pl.DataFrame) -> pl.DataFrame:
    """Return (vertical, item_id, account_id) of at most ANCHORS members of each vertical, the same in every run."""
    members = gold.filter("is_member").select("vertical", "item_id", "account_id")
    order = pl.Series("_order", [_order(*row) for row in members.select("vertical", "item_id").iter_rows()], pl.UInt32)
    ordered = members.with_columns(order).sort("vertical", "_order", "item_id")
    return ordered.group_by("vertical", maintain_order=True).head(ANCHORS).drop("_order")


@dataclass(frozen=True)
class Mining:
    """The anchors of every vertical, for many searches: rows, vectors and reaches by vertical, and labels of posts."""

    groups: Sequence[tuple[str, pl.DataFrame, Vectors, Vectors]]
    labels: Mapping[str, Mapping[str, bool]]

    @classmethod
    def of(cls, anchors: pl.DataFrame, vectors: Vectors, gold: pl.DataFrame) -> "Mining":
        """Return the search for ``anchors`` of `choose_anchors`, one per vector, and the labels ``gold``."""
        labels = {
            str(vertical): dict(rows.select("item_id", "is_member").iter_rows())
            for (vertical,), rows in gold.group_by("vertical")
        }
        groups = []
        for (vertical,), rows in anchors.with_row_index("_row").group_by("vertical", maintain_order=True):
            own = vectors[rows["_row"].to_numpy()]
            groups.append((str(vertical), rows, own, _reach(own, rows["account_id"].to_numpy())))
        return cls(groups, labels)

    def mine(self, blocks: Iterable[tuple[pl.DataFrame, Vectors]]) -> pl.DataFrame:
        """Return NEGATIVE_COLUMNS: for each anchor the NEGATIVES most similar posts that are no members.

        ``blocks`` yield (item_id, account_id) and vectors. A post of the anchor's account, a labelled member, and an
        unlabelled post that is as near as members are is left out. Memory: the anchors, one block, and its similarities
        to one vertical's anchors.
        """
        found = pl.DataFrame(schema=_EMPTY)
        for items, block in blocks:
            parts, ids, owners = [found], items["item_id"].to_list(), items["account_id"].to_numpy()
            for vertical, rows, own, reach in self.groups:
                given = list(map(self.labels[vertical].get, ids))
                similarity = own @ block.T
                is_open = np.array([value is None for value in given])
                barred = rows["account_id"].to_numpy()[:, None] == owners[None, :]
                barred |= np.array([value is True for value in given])[None, :]
                barred |= is_open[None, :] & (similarity > _MARGIN * reach[:, None])
                parts.append(_nearest(np.where(barred, -np.inf, similarity), vertical, rows, items, ~is_open))
            found = _best(pl.concat(parts))
        return found


def _reach(vectors: Vectors, accounts: npt.NDArray[np.object_]) -> Vectors:
    """Return each anchor's similarity to the nearest anchor of another account; 1 if there is none."""
    similarity = np.where(accounts[:, None] == accounts[None, :], -np.inf, vectors @ vectors.T)
    nearest = similarity.max(axis=1)
    return np.where(np.isfinite(nearest), nearest, 1).astype(np.float32)


def _nearest(
    similarity: Vectors, vertical: str, rows: pl.DataFrame, items: pl.DataFrame, is_labelled: npt.NDArray[np.bool_]
) -> pl.DataFrame:
    most = min(2 * NEGATIVES, similarity.shape[1])  # a post may have several chunks
    columns = np.argpartition(-similarity, most - 1, axis=1)[:, :most].ravel()
    lines = np.repeat(np.arange(len(rows)), most)
    values = similarity[lines, columns]
    held = np.isfinite(values)
    lines, columns = lines[held], columns[held]
    return pl.DataFrame(
        {
            "account_id": items["account_id"][columns],
            "vertical": pl.Series([vertical] * len(lines), dtype=pl.String),
            "anchor_id": rows["item_id"][lines],
            "item_id": items["item_id"][columns],
            "similarity": pl.Series(values[held].astype(np.float64).round(_DECIMALS), dtype=pl.Float64),
            "is_labelled": pl.Series(is_labelled[columns], dtype=pl.Boolean),
        }
    )


def _best(found: pl.DataFrame) -> pl.DataFrame:
    place = ["vertical", "anchor_id"]
    ordered = found.sort(*place, "similarity", "item_id", descending=[False, False, True, False])
    once = ordered.unique([*place, "item_id"], keep="first", maintain_order=True)
    return once.group_by(place, maintain_order=True).head(NEGATIVES).select(NEGATIVE_COLUMNS)


def training_pairs(gold: pl.DataFrame, negatives: pl.DataFrame) -> pl.DataFrame:
    """Return (rank, vertical, anchor_id, other_id, is_same, kind, smallest_set), at most the last of SETS.

    Half of a vertical's pairs are two members, half a member and another post: mined negatives first, then labelled
    ones. Verticals take turns, so that every set has all of them.
    """
    rows: list[tuple[int, str, str, str, bool, str]] = []
    verticals = sorted(gold.filter("is_member")["vertical"].unique())
    quota = 3 * -(-SETS[-1] // max(len(verticals), 1))  # verticals with many members stand in for those with few
    for vertical in verticals:
        own = gold.filter(pl.col("vertical") == vertical)
        members, others = (
            sorted(own.filter(pl.col("is_member") == wanted)["item_id"], key=lambda item: _order(vertical, item))
            for wanted in (True, False)
        )
        mined: dict[str, list[str]] = {}
        of_vertical = negatives.filter(pl.col("vertical") == vertical).sort(
            "is_labelled", "similarity", descending=True
        )
        for anchor, item in of_vertical.select("anchor_id", "item_id").iter_rows():
            mined.setdefault(anchor, []).append(item)
        same = islice(_positives(members), quota // 2)
        different = islice(_negatives(members, others, mined), quota // 2)
        for place, ((one, other), (anchor, negative, kind)) in enumerate(zip(same, different, strict=False)):
            rows.append((2 * place, vertical, one, other, True, "members"))
            rows.append((2 * place + 1, vertical, anchor, negative, False, kind))
    columns = ["_place", "vertical", "anchor_id", "other_id", "is_same", "kind"]
    types = [pl.Int64(), pl.String(), pl.String(), pl.String(), pl.Boolean(), pl.String()]
    made = pl.DataFrame(rows, schema=dict(zip(columns, types, strict=True)), orient="row")
    ordered = made.sort("_place", "vertical").head(SETS[-1])
    rank = pl.int_range(1, ordered.height + 1, dtype=pl.Int64)
    smallest = pl.lit(SETS[-1], pl.Int64)
    for size in reversed(SETS[:-1]):
        smallest = pl.when(rank <= size).then(pl.lit(size, pl.Int64)).otherwise(smallest)
    return ordered.select(rank.alias("rank"), *columns[1:], smallest.alias("smallest_set"))


def _positives(members: list[str]) -> Iterator[tuple[str, str]]:
    """Yield every pair of members once, those at a small distance of the order first."""
    count = len(members)
    for step in range(1, count // 2 + 1):
        for at in range(count if 2 * step < count else count // 2):
            yield members[at], members[(at + step) % count]


def _negatives(members: list[str], others: list[str], mined: Mapping[str, list[str]]) -> Iterator[tuple[str, str, str]]:
    """Yield (member, other post, kind), mined ones first."""
    seen: set[tuple[str, str]] = set()
    for number in range(NEGATIVES * 64):
        hard = [(member, mined[member][number]) for member in members if number < len(mined.get(member, []))]
        if not hard:
            break
        for member, item in hard:
            seen.add((member, item))
            yield member, item, "hard negative"
    for step in range(len(others)):
        for at, member in enumerate(members):
            pair = (member, others[(at + step) % len(others)])
            if pair not in seen:
                yield *pair, "negative"


def _order(vertical: str, item_id: str) -> int:
    return zlib.crc32(f"pairs\0{vertical}\0{item_id}".encode())
