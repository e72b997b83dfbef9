"""Choose the posts to label next, and put them in order for one annotator."""

import zlib
from collections.abc import Collection, Iterator, Mapping, Sequence

import polars as pl

Rule = tuple[str, float]
"""A method, and the threshold of its scores."""
UNCERTAIN, DISPUTED, OVERLAP, CONTROL = "uncertain", "disputed", "overlap", "control"
OVERLAP_EVERY = 10
"""One of so many labelled posts is shown to other annotators too, so that their agreement can be measured."""
_OVERLAP_PLACE, _CONTROL_PLACE = 8, 20
"""Every so many places of the queue hold an overlap post, and a control post."""
_MOST_OF_ACCOUNT = 3
QUEUE_COLUMNS = ["account_id", "item_id", "vertical", "language", "reason", "distance", "voters"]


def candidates(
    posts: pl.DataFrame, labelled: pl.DataFrame, rules: Mapping[str, Rule], verticals: Sequence[str], most: int
) -> pl.DataFrame:
    """Return QUEUE_COLUMNS of a bucket: at most ``most`` posts per vertical, language and reason, and 3 per account.

    ``posts``: (item_id, account_id, language, method, scores), a score per vertical, null if the method abstains.
    ``rules``: vertical → the method that tags it, and its threshold. ``labelled``: (item_id, vertical, voters,
    reason) of posts that have votes; ``reason`` is null for those that nobody has to see again. A post without a vote
    is the more useful the nearer its score is to the threshold: its label moves the threshold most.
    """
    frames = []
    for number, vertical in enumerate(verticals):
        method, threshold = rules[vertical]
        distance = (pl.col("scores").list.get(number) - threshold).abs().round(6)
        seen = labelled.filter(pl.col("vertical") == vertical).drop("vertical")
        rows = (
            posts.filter(pl.col("method") == method)
            .select("account_id", "item_id", pl.lit(vertical).alias("vertical"), "language", distance.alias("distance"))
            .join(seen, on="item_id", how="left")
        )
        is_open = pl.col("voters").is_null()
        told = rows.with_columns(
            reason=pl.when(is_open).then(pl.lit(UNCERTAIN)).otherwise("reason"),
            voters=pl.when(is_open).then(pl.lit([], pl.List(pl.String))).otherwise("voters"),
        ).filter(pl.col("reason").is_not_null() & pl.col("distance").is_not_null())
        ordered = told.sort("distance", "item_id")
        spread = ordered.filter(pl.int_range(pl.len()).over("language", "reason", "account_id") < _MOST_OF_ACCOUNT)
        frames.append(spread.filter(pl.int_range(pl.len()).over("language", "reason") < most).select(QUEUE_COLUMNS))
    return pl.concat(frames)


def with_reasons(votes: pl.DataFrame, disputed: pl.DataFrame, sure: pl.DataFrame) -> pl.DataFrame:
    """Return (item_id, vertical, voters, reason) of voted posts: why another annotator should see one again.

    ``votes``: the newest of each voter. ``disputed`` and ``sure``: (item_id, vertical) of evenly split votes, and of
    labels that can serve as controls. Of the others with one vote, one of OVERLAP_EVERY is shown to others.
    """
    place = ["item_id", "vertical"]
    voted = votes.group_by(place).agg(voters=pl.col("voter").unique().sort()).sort(place)
    marked = voted.join(disputed.select(*place, _disputed=True), on=place, how="left").join(
        sure.select(*place, _sure=True), on=place, how="left"
    )
    return marked.with_columns(_chosen=_planned(voted)).select(
        *place,
        "voters",
        reason=pl.when(pl.col("_disputed")).then(pl.lit(DISPUTED))
        .when(pl.col("_sure")).then(pl.lit(CONTROL))
        .when(pl.col("_chosen") & (pl.col("voters").list.len() == 1)).then(pl.lit(OVERLAP)),
    )  # fmt: skip


def in_order(queue: pl.DataFrame, annotator: str, done: Collection[str], taken: Collection[str]) -> list[str]:
    """Return the posts of one vertical in the order in which an annotator sees them.

    Disputed posts come first. Between uncertain ones, every 8th place is an overlap and every 20th a control, as long
    as there are any. ``done`` are the annotator's own posts; ``taken`` those that others labelled since the queue was
    made: of these only the planned overlap is shown.
    """
    left = queue.filter(~pl.col("item_id").is_in(list(done)) & ~pl.col("voters").list.contains(annotator))
    is_free = (pl.col("reason") != UNCERTAIN) | ~pl.col("item_id").is_in(list(taken)) | _planned(left)
    of = {
        reason: iter(rows["item_id"].to_list())
        for (reason,), rows in left.filter(is_free).sort("distance", "item_id").group_by("reason", maintain_order=True)
    }
    none: Iterator[str] = iter(())
    ordered = list(of.get(DISPUTED, none))
    overlap, control = of.get(OVERLAP, none), of.get(CONTROL, none)
    for item in of.get(UNCERTAIN, none):
        ordered.append(item)
        for every, source in ((_OVERLAP_PLACE, overlap), (_CONTROL_PLACE, control)):
            if (len(ordered) + 1) % every == 0 and (extra := next(source, None)) is not None:
                ordered.append(extra)
    return [*ordered, *overlap, *control]


def is_planned_overlap(vertical: str, item_id: str) -> bool:
    """Return whether a post is one of those that several annotators label for a vertical."""
    return zlib.crc32(f"{vertical}\0{item_id}".encode()) % OVERLAP_EVERY == 0


def _planned(rows: pl.DataFrame) -> pl.Series:
    found = [is_planned_overlap(vertical, item) for vertical, item in rows.select("vertical", "item_id").iter_rows()]
    return pl.Series(found, dtype=pl.Boolean)
