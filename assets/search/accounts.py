"""Accounts as the lake has them: found by name, narrowed by filters, and described in an answer."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import polars as pl

from assets.corpus import CHUNKS
from assets.lake import LAKE_ACCOUNTS, LAKE_POSTS
from assets.search.filters import ANY_NUMBER, Followers
from assets.search.memory import Memory
from assets.transforms.search.attributes import AboutAccount, spelled
from assets.transforms.search.names import NameMatch, folded_names
from assets.transforms.search.ranking import Evidence, RankedAccount
from assets.verticals.tags import TAGS
from resources.delta.table import LakeResource
from resources.vectors.values import Candidate, SearchFilter

_KEPT_ROWS = 200_000
"""Accounts of a lake up to which their names, numbers and tags are kept for the next search: about 150 MB."""
_SPELLED = ["network", "country", "language"]
_ABOUT = ["account_id", "handle", "display_name", "bio", "followers", *_SPELLED]


class _Kept:
    """The accounts of a lake in memory, found by id."""

    def __init__(self, names: pl.DataFrame) -> None:
        self.names = names
        self._about = names.select(_ABOUT)
        self._rows = {account_id: row for row, account_id in enumerate(names["account_id"])}

    def of(self, ids: Sequence[str]) -> pl.DataFrame:
        """Return the rows of some accounts."""
        return self._about[[self._rows[account_id] for account_id in ids if account_id in self._rows]]


@dataclass
class Accounts:
    """The live accounts of a lake."""

    memory: Memory

    @property
    def lake(self) -> LakeResource:
        """The lake."""
        return self.memory.lake

    def names(self) -> pl.DataFrame:
        """Return the ``folded_names`` of all accounts, with their attributes."""
        kept = self._kept()
        return folded_names(self._live().select(_ABOUT).collect()) if kept is None else kept.names

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
        verticals = set(wanted.get("verticals", []))
        tagged = [account_id for account_id, held in self._tags(ids).items() if not verticals.isdisjoint(held)]
        in_days = _in_days(where)
        of_posts = in_days & _is_any("language", wanted.get("language"))
        speaks = _is_any("language", wanted.get("language")) if in_days is _ALWAYS else ~_ALWAYS
        depends_on_posts = in_days is not _ALWAYS or "language" in wanted
        of_accounts = pl.col("account_id").is_in(ids if depends_on_posts else [])
        posts = self.lake.scan(CHUNKS).filter(of_accounts, of_posts).select("account_id").collect()
        allowed = self._about(ids).filter(
            *(_is_any(name, wanted.get(name)) for name in ("network", "country", "account_id")),
            _ALWAYS if followers == ANY_NUMBER else followers.is_in_range(),
            _ALWAYS if where.vertical is None else pl.col("account_id").is_in(tagged),
            pl.col("account_id").is_in(posts["account_id"].implode()) | speaks,
        )
        eligible = set(allowed["account_id"])
        return [match for match in matches if match[0] in eligible]

    def attributes(self, ids: Sequence[str]) -> list[dict[str, Any]]:
        """Return accounts under the names of the payload's fields."""
        tags = self._tags(ids)
        return [{**row, "verticals": [*tags.get(row["account_id"], ())]} for row in self._about(ids).to_dicts()]

    def in_range(self, followers: Followers) -> Callable[[Sequence[Candidate]], list[Candidate]]:
        """Return a function that keeps the candidates whose accounts have a number of followers in the range, now."""
        known: dict[str, bool] = {}

        def keep(found: Sequence[Candidate]) -> list[Candidate]:
            ids = {
                account_id for candidate in found if isinstance(account_id := candidate.payload.get("account_id"), str)
            }
            if new := sorted(ids - known.keys()):
                counted = self._about(new).filter(followers.is_in_range())
                eligible = set(counted["account_id"])
                known.update({account_id: account_id in eligible for account_id in new})
            return [candidate for candidate in found if known.get(candidate.payload.get("account_id", ""), False)]

        return keep

    def described(self, ranked: Sequence[RankedAccount], *, media: bool) -> list[RankedAccount]:
        """Return ranked accounts with what the lake knows about them and, if wanted, the media of their evidence."""
        ids = [account.account_id for account in ranked]
        about = {row["account_id"]: row for row in self._about(ids).iter_rows(named=True)}
        verticals = self._tags(ids)
        media_of = self._media([post.post_id for account in ranked for post in account.evidence]) if media else {}
        return [
            replace(
                account,
                handle=account.handle or about.get(account.account_id, {}).get("handle"),
                about=_about(about.get(account.account_id, {}), verticals.get(account.account_id, ())),
                evidence=[_with_media(post, media_of) for post in account.evidence],
            )
            for account in ranked
        ]

    def _live(self) -> pl.LazyFrame:
        return self.lake.scan(LAKE_ACCOUNTS).filter(pl.col("deleted_at").is_null())

    def _kept(self) -> "_Kept | None":
        """Return all accounts from memory; None if there are too many."""

        def compute() -> _Kept | None:
            accounts = self._live().select(_ABOUT).head(_KEPT_ROWS + 1).collect()
            return _Kept(folded_names(_in_points(accounts))) if accounts.height <= _KEPT_ROWS else None

        return self.memory.of(LAKE_ACCOUNTS, "accounts", compute)

    def _about(self, ids: Sequence[str]) -> pl.DataFrame:
        """Return some accounts in the spelling of filters."""
        kept = self._kept()
        if kept is None:
            return _in_points(self._live().filter(pl.col("account_id").is_in(ids)).select(_ABOUT).collect())
        return kept.of(ids)

    def _tags(self, ids: Sequence[str]) -> dict[str, tuple[str, ...]]:
        """Return account id → verticals, of those that have one."""

        def compute() -> dict[str, tuple[str, ...]] | None:
            tags = self._tagged().head(_KEPT_ROWS + 1).collect()
            return _by_item(tags) if tags.height <= _KEPT_ROWS else None

        kept = self.memory.of(TAGS, "tags", compute)
        known = _by_item(self._tagged().filter(pl.col("item_id").is_in(ids)).collect()) if kept is None else kept
        return {account_id: known[account_id] for account_id in ids if account_id in known}

    def _tagged(self) -> pl.LazyFrame:
        return self.lake.scan(TAGS).filter(pl.col("item_kind") == "account").select("item_id", "vertical")

    def _media(self, post_ids: Sequence[str]) -> dict[str, str | None]:
        posts = self.lake.scan(LAKE_POSTS).filter(pl.col("post_id").is_in(post_ids))
        return dict(posts.select("post_id", "media_url").collect().iter_rows())


def _in_points(accounts: pl.DataFrame) -> pl.DataFrame:
    """Return accounts with their attributes in the spelling of points and filters."""
    return accounts.with_columns(spelled(name) for name in _SPELLED)


def _by_item(tags: pl.DataFrame) -> dict[str, tuple[str, ...]]:
    found: dict[str, tuple[str, ...]] = {}
    for item_id, vertical in tags.sort("vertical").iter_rows():
        found[item_id] = (*found.get(item_id, ()), vertical)
    return found


def _about(row: dict[str, Any], verticals: tuple[str, ...]) -> AboutAccount:
    names = ("display_name", "bio", "followers", *_SPELLED)
    return AboutAccount(**{name: row.get(name) for name in names}, verticals=verticals)


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
