"""What posts are filtered by and shown with: the attributes of their accounts, in the spelling of points."""

from dataclasses import dataclass

import polars as pl

from assets.transforms.search.codes import NO_LANGUAGE, country_code, language_code, languages_of

ATTRIBUTE_RULES = "3"
"""Part of a stage's version. Change it to have the attributes of chunks recomputed."""
SHORT_HAN = 40
"""Characters of a post, up to which kanji alone may be Japanese: a longer text has kana."""
_HAN = r"\p{Han}"
_OTHER_SCRIPT_OF_EAST_ASIA = r"[\p{Hiragana}\p{Katakana}\p{Hangul}]"


@dataclass(frozen=True)
class AboutAccount:
    """What the lake knows about an account now, in the spelling of filters, and its earned verticals."""

    display_name: str | None = None
    bio: str | None = None
    network: str | None = None
    country: str | None = None
    language: str | None = None
    followers: int | None = None
    verticals: tuple[str, ...] = ()


def attributes(posts: pl.DataFrame, accounts: pl.DataFrame) -> pl.DataFrame:
    """Return (post_id, account_id, account_bucket, network, posted_at, handle, language, country, followers_tier).

    Chunks are filtered and shown by these. The language is the account's own statement. All values are ``spelled``.
    """
    tier = 64 - pl.col("followers").cast(pl.Int64).clip(0).bitwise_leading_zeros()
    owners = accounts.select(
        "account_id",
        "handle",
        *(spelled(name) for name in ("language", "country")),
        followers_tier=tier.cast(pl.Int32),
    )
    return posts.select("post_id", "account_id", "account_bucket", spelled("network"), "posted_at").join(
        owners, on="account_id", how="left"
    )


def tiers_between(least: int | None, most: int | None) -> frozenset[int]:
    """Return the tiers of all numbers of followers in a range: a number's tier is how many binary digits it has."""
    lowest = max(least or 0, 0).bit_length()
    highest = 63 if most is None else max(most, 0).bit_length()
    return frozenset(range(lowest, highest + 1))


def spelled(name: str) -> pl.Expr:
    """Return a column in the spelling of points and filters: "en" for "en-US" and "English", "GB" for "UK".

    ``name`` is language, country or network. A blank becomes null, as does a language such as "und". Text that names
    no known language or country stays, in the case of a code.
    """
    stated = pl.col(name).cast(pl.String).str.strip_chars()
    spell = {"country": _country, "language": _language, "network": str.lower}[name]
    return pl.when(stated != "").then(stated.map_elements(spell, return_dtype=pl.String)).alias(name)


def language_of_text() -> pl.Expr:
    """Return the language of a chunk: the ``text_language`` that was detected, else the account's ``language``.

    The account's holds where the detector cannot tell better: it is a kind of the one detected (Cantonese of Chinese),
    or the post is short and all Han characters, which Chinese and Japanese share. Needs ``text`` and ``post_id``.
    """
    declared, detected = pl.col("language"), pl.col("text_language")
    of_han = ["ja", *sorted(languages_of("zh"))]
    is_han = pl.col("text").str.contains(_HAN) & ~pl.col("text").str.contains(_OTHER_SCRIPT_OF_EAST_ASIA)
    is_short = pl.col("text").str.len_chars().sum().over("post_id") <= SHORT_HAN
    either = is_han.all().over("post_id") & is_short & declared.is_in(of_han) & detected.is_in(of_han)
    kinds = pl.struct(declared, detected).map_elements(_is_kind, return_dtype=pl.Boolean)
    return pl.when(declared.is_not_null() & (either | kinds)).then(declared).otherwise(pl.coalesce(detected, declared))


def _is_kind(pair: dict[str, str | None]) -> bool:
    declared, detected = pair["language"], pair["text_language"]
    return declared is not None and detected is not None and declared in languages_of(detected)


def _country(stated: str) -> str:
    return country_code(stated) or stated.upper()


def _language(stated: str) -> str | None:
    primary = stated.lower().replace("_", "-").split("-")[0]
    return None if primary in NO_LANGUAGE else language_code(stated) or primary
