"""Accounts as the lake has them: found by name, narrowed by filters, and described in an answer."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import polars as pl

from assets.corpus import CHUNKS
from assets.lake import LAKE_ACCOUNTS, LAKE_POSTS
from assets.search.filters import ANY_NUMBER, Followers
from assets.transforms.search.attributes import AboutAccount, spelled
from assets.transforms.search.names import NameMatch, folded_names
from assets.transforms.search.ranking import Evidence, RankedAccount
from assets.verticals.tags import TAGS
from resources.delta.table import LakeResource
from resources.vectors.values import Candidate, SearchFilter

_KEPT_ROWS = 200_000
"""Accounts of a lake up to which their folded names are kept for the next search: about 100 MB."""
_ABOUT = ["account_id", "handle", "display_name", "bio", "followers"]
_SPELLED = ["network", "country", "language"]


@dataclass
class Accounts:
    """The live accounts of a lake."""

    lake: LakeResource
    _names: dict[int, pl.DataFrame] = field(default_factory=dict)

    def names(self) -> pl.DataFrame:
        """Return the ``folded_names`` of all accounts, from memory while the table has not changed."""
        snapshot = self.lake.snapshot(LAKE_ACCOUNTS)
        version = -1 if snapshot is None else snapshot.version
        if version in self._names:
            return self._names[version]
        accounts = self._live().select("account_id", "handle", "display_name", "bio").collect()
        found = folded_names(accounts)
        self._names = {version: found} if found.height <= _KEPT_ROWS else {}
        return found

    def words(self, ids: Sequence[str]) -> dict[str, str]:
        """Return account id → handle, display name and bio."""
        columns = pl.concat_str("handle", "display_name", "bio", separator=" ", ignore_nulls=True)
        return dict(self._about(ids).select("account_id", columns).iter_rows())

    def narrowed(
        self, matches: Sequence[tuple[str, NameMatch]], where: SearchFilter, followers: Followers
    ) -> list[tuple[str, NameMatch]]:
        """Return the matches whose accounts the filters allow.

        A date needs a post of that time. A language needs a post, or the account's own statement.
        """
        if where == SearchFilter() and followers == ANY_NUMBER:
            return list(matches)
        ids = [account_id for account_id, _ in matches]
        wanted = {**where.any_of(), **{name: [value] for name, value in where.matches().items()}}
        tagged = self._tags(ids).rename({"item_id": "account_id"}).filter(_is_any("vertical", wanted.get("verticals")))
        in_days = _in_days(where)
        of_posts = in_days & _is_any("language", wanted.get("language"))
        posts = self.lake.scan(CHUNKS).filter(pl.col("account_id").is_in(ids), of_posts).select("account_id").collect()
        speaks = _is_any("language", wanted.get("language")) if in_days is _ALWAYS else ~_ALWAYS
        allowed = self._about(ids).filter(
            *(_is_any(name, wanted.get(name)) for name in ("network", "country", "account_id")),
            _ALWAYS if followers == ANY_NUMBER else followers.is_in_range(),
            _ALWAYS if where.vertical is None else pl.col("account_id").is_in(tagged["account_id"].implode()),
            pl.col("account_id").is_in(posts["account_id"].implode()) | speaks,
        )
        eligible = set(allowed["account_id"])
        return [match for match in matches if match[0] in eligible]

    def attributes(self, ids: Sequence[str]) -> list[dict[str, Any]]:
        """Return accounts under the names of the payload's fields."""
        verticals = self._tags(ids).group_by(account_id="item_id").agg(verticals="vertical")
        return self._about(ids).join(verticals, on="account_id", how="left").to_dicts()

    def in_range(self, followers: Followers) -> Callable[[Sequence[Candidate]], list[Candidate]]:
        """Return a function that keeps the candidates whose accounts have a number of followers in the range, now."""
        known: dict[str, bool] = {}

        def keep(found: Sequence[Candidate]) -> list[Candidate]:
            ids = {
                account_id for candidate in found if isinstance(account_id := candidate.payload.get("account_id"), str)
            }
            if new := sorted(ids - known.keys()):
                counted = self._live().filter(pl.col("account_id").is_in(new), followers.is_in_range())
                eligible = set(counted.select("account_id").collect()["account_id"])
                known.update({account_id: account_id in eligible for account_id in new})
            return [candidate for candidate in found if known.get(candidate.payload.get("account_id", ""), False)]

        return keep

    def described(self, ranked: Sequence[RankedAccount]) -> list[RankedAccount]:
        """Return ranked accounts with what the lake knows about them, and the media of their evidence."""
        ids = [account.account_id for account in ranked]
        about = {row["account_id"]: row for row in self._about(ids).iter_rows(named=True)}
        verticals: dict[str, list[str]] = {}
        for item_id, vertical in self._tags(ids).sort("vertical").iter_rows():
            verticals.setdefault(item_id, []).append(vertical)
        media = self._media([post.post_id for account in ranked for post in account.evidence])
        return [
            replace(
                account,
                handle=account.handle or about.get(account.account_id, {}).get("handle"),
                about=_about(about.get(account.account_id, {}), verticals.get(account.account_id, [])),
                evidence=[_with_media(post, media) for post in account.evidence],
            )
            for account in ranked
        ]

    def _live(self) -> pl.LazyFrame:
        return self.lake.scan(LAKE_ACCOUNTS).filter(pl.col("deleted_at").is_null())

    def _about(self, ids: Sequence[str]) -> pl.DataFrame:
        columns = [*_ABOUT, *_SPELLED]
        found = self._live().filter(pl.col("account_id").is_in(ids)).select(columns).collect()
        return found.with_columns(spelled(name) for name in _SPELLED)

    def _tags(self, ids: Sequence[str]) -> pl.DataFrame:
        of_accounts = (pl.col("item_kind") == "account") & pl.col("item_id").is_in(ids)
        return self.lake.scan(TAGS).filter(of_accounts).select("item_id", "vertical").collect()

    def _media(self, post_ids: Sequence[str]) -> dict[str, str | None]:
        posts = self.lake.scan(LAKE_POSTS).filter(pl.col("post_id").is_in(post_ids))
        return dict(posts.select("post_id", "media_url").collect().iter_rows())


def _about(row: dict[str, Any], verticals: list[str]) -> AboutAccount:
    names = ("display_name", "bio", "followers", *_SPELLED)
    return AboutAccount(**{name: row.get(name) for name in names}, verticals=tuple(verticals))


def _with_media(post: Evidence, media: dict[str, str | None]) -> Evidence:
    return replace(post, media_url=media.get(post.post_id))


_ALWAYS = pl.lit(value=True)


def _is_any(name: str, wanted: list[Any] | None) -> pl.Expr:
    return _ALWAYS if wanted is None else pl.col(name).is_in(wanted)


def _in_days(where: SearchFilter) -> pl.Expr:
    if where.posted_after is None and where.posted_before is None:
        return _ALWAYS
    after = pl.col("posted_at") >= where.posted_after if where.posted_after else _ALWAYS
    return after & (pl.col("posted_at") < where.posted_before if where.posted_before else _ALWAYS)
