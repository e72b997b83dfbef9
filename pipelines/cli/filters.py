"""The options of `cippus search` and `cippus ask` that filter, and the filter that they make."""

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from resources.vectors.values import SearchFilter

_DAYS = ["%Y-%m-%d"]
_ANY_OF = "Repeat it for any of several."
Verticals = Annotated[list[str] | None, typer.Option(help=f"Only accounts tagged with this vertical. {_ANY_OF}")]
Networks = Annotated[list[str] | None, typer.Option(help=f"Only posts of this network. {_ANY_OF}")]
Languages = Annotated[
    list[str] | None, typer.Option(help=f"Only posts in this language, such as en or English. {_ANY_OF}")
]
Countries = Annotated[
    list[str] | None, typer.Option(help=f"Only accounts of this country, such as DE or Germany. {_ANY_OF}")
]
PostedAfter = Annotated[datetime | None, typer.Option(formats=_DAYS, help="Only posts on or after this day (UTC).")]
PostedBefore = Annotated[datetime | None, typer.Option(formats=_DAYS, help="Only posts before this day (UTC).")]
MinFollowers = Annotated[int | None, typer.Option(min=0, help="Only accounts with this many followers or more.")]
MaxFollowers = Annotated[int | None, typer.Option(min=0, help="Only accounts with this many followers or fewer.")]


def search_filter(  # options of a command
    vertical: list[str] | None,
    network: list[str] | None,
    language: list[str] | None,
    country: list[str] | None,
    posted_after: datetime | None,
    posted_before: datetime | None,
) -> "SearchFilter":
    """Return the filter of these options. Raises ValueError for values that exclude each other."""
    from resources.vectors.values import SearchFilter

    return SearchFilter(
        vertical=_any_of(vertical),
        network=_any_of(network),
        language=_any_of(language),
        country=_any_of(country),
        posted_after=posted_after and posted_after.replace(tzinfo=UTC),
        posted_before=posted_before and posted_before.replace(tzinfo=UTC),
    )


def _any_of(values: list[str] | None) -> frozenset[str] | None:
    """Return the values of a repeated option, None if it is not given."""
    return frozenset(values) if values else None
