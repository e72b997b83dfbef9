"""What a search or a question asks for: the parameters of its address, in which everything is."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from urllib.parse import urlencode

from assets.search.query import Followers
from resources.errors import InputError
from resources.vectors.values import SearchFilter

FILTERS = (
    "vertical",
    "network",
    "language",
    "country",
    "posted_after",
    "posted_before",
    "min_followers",
    "max_followers",
)
_LONGEST_QUERY, _LONGEST_VALUE, _LAST_PAGE = 500, 100, 50


class Form(dict[str, str]):
    """The fields of a form: the last of each name, and all of them under ``of``."""

    def __init__(self, pairs: Sequence[tuple[str, str]]) -> None:
        super().__init__(pairs)
        self._pairs = pairs

    def of(self, name: str) -> list[str]:
        """Return every value of a name."""
        return [value for key, value in self._pairs if key == name]


@dataclass(frozen=True)
class Asked:
    """The parameters as written: ``q``, the filters that are not blank, ``like`` and the page, from 1.

    ``like`` is an account whose posts are searched with.
    """

    q: str
    filters: Mapping[str, str]
    page: int = 1
    like: str = ""

    @classmethod
    def of(cls, query: Mapping[str, str]) -> "Asked":
        """Read the parameters. Raises InputError."""
        q = query.get("q", "").strip()
        if len(q) > _LONGEST_QUERY:
            raise InputError(f"The query has {len(q):,} characters; it may have {_LONGEST_QUERY}.")
        filters = {name: value for name in FILTERS if (value := query.get(name, "").strip())}
        for name, value in filters.items():
            if len(value) > _LONGEST_VALUE:
                raise InputError(f"{_words(name)} has {len(value):,} characters; it may have {_LONGEST_VALUE}.")
        page = query.get("page", "1")
        if not page.isascii() or not page.isdigit() or not 1 <= int(page[:9]) <= _LAST_PAGE:
            raise InputError(f"The page is {page[:20]!r}; it must be a number from 1 to {_LAST_PAGE}.")
        return cls(q, filters, int(page), query.get("like", "").strip()[:_LONGEST_QUERY])

    def where(self) -> SearchFilter:
        """Return the filter. Raises InputError for a day that is none."""
        return SearchFilter(
            vertical=self.filters.get("vertical"),
            network=self.filters.get("network"),
            language=self.filters.get("language"),
            country=self.filters.get("country"),
            posted_after=self._day("posted_after"),
            posted_before=self._day("posted_before"),
        )

    def followers(self) -> Followers:
        """Return the range of followers. Raises InputError."""
        try:
            return Followers(self._count("min_followers"), self._count("max_followers"))
        except ValueError as error:
            raise InputError(str(error)) from None

    def fields(self) -> dict[str, str]:
        """Return what is asked for as the fields of a form."""
        values = {"q": self.q, "like": self.like, **self.filters, "page": str(self.page) if self.page > 1 else ""}
        return {name: value for name, value in values.items() if value}

    def address(self, path: str, **changes: str | int | None) -> str:
        """Return a link with these parameters; a changed parameter that is None is left out, and page 1 too."""
        values: dict[str, str | int | None] = {
            "q": self.q,
            "like": self.like,
            **self.filters,
            "page": self.page,
            **changes,
        }
        if values["page"] == 1:
            del values["page"]
        kept = {name: value for name, value in values.items() if value not in (None, "")}
        return f"{path}?{urlencode(kept)}" if kept else path

    def _day(self, name: str) -> datetime | None:
        value = self.filters.get(name)
        if value is None:
            return None
        try:
            return datetime.strptime(value, "%Y-%m-%d").replace(tzinfo=UTC)
        except ValueError:
            raise InputError(f"{_words(name)} is {value!r}; it must be a day such as 2026-01-31.") from None

    def _count(self, name: str) -> int | None:
        value = self.filters.get(name)
        if value is None:
            return None
        if not value.isascii() or not value.isdigit() or len(value) > 15:
            raise InputError(f"{_words(name)} is {value!r}; it must be a number of followers, 0 or more.")
        return int(value)


def _words(name: str) -> str:
    return {"min_followers": "The least number of followers", "max_followers": "The most followers"}.get(
        name, f"The filter {name.replace('_', ' ')}"
    )
