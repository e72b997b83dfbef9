"""What posts are filtered by has one spelling, and an account's language is not overruled where nobody can tell."""

from datetime import UTC, datetime

import polars as pl
import pytest

from assets.transforms.search.attributes import attributes, language_of_text, tiers_between

NOON = datetime(2026, 7, 1, 12, tzinfo=UTC)
OWNER = {"account_id": "a", "handle": "@a", "language": "en", "country": None, "followers": None}


def owned(**owner: object) -> dict[str, object]:
    posts = pl.DataFrame(
        [{"post_id": "p", "account_id": "a", "account_bucket": 0, "network": "YouTube ", "posted_at": NOON}]
    )
    schema = {"country": pl.String, "language": pl.String, "followers": pl.Int64}
    return attributes(posts, pl.DataFrame([{**OWNER, **owner}], schema_overrides=schema)).row(0, named=True)


def test_attributes_join_the_owner() -> None:
    assert owned(followers=5) == {
        "post_id": "p", "account_id": "a", "account_bucket": 0, "network": "youtube", "posted_at": NOON,
        "handle": "@a", "language": "en", "country": None, "followers_tier": 3,
    }  # fmt: skip


@pytest.mark.parametrize(
    ("stated", "spelled"),
    [("en-US", "en"), ("EN", "en"), ("pt_BR", "pt"), ("zh-Hant", "zh"), ("zh-TW", "zh"), (" ", None), ("yue", "yue"),
     ("English", "en"), ("deutsch", "de"), ("ger", "de"), ("iw", "he"), ("und", None), ("日本語", "ja"), ("qya", "qya"),
     ("Portuguese (Brazil)", "pt"), ("cmn", "zh")],
)  # fmt: skip
def test_languages_have_one_spelling(stated: str, spelled: str | None) -> None:
    assert owned(language=stated)["language"] == spelled


@pytest.mark.parametrize(
    ("stated", "spelled"),
    [("us", "US"), (" br ", "BR"), ("", None), ("UK", "GB"), ("gbr", "GB"), ("United Kingdom", "GB"), ("England", "GB"),
     ("U.S.A.", "US"), ("united states", "US"), ("Deutschland", "DE"), ("日本", "JP"), ("Nowhereland", "NOWHERELAND")],
)  # fmt: skip
def test_countries_have_one_spelling(stated: str, spelled: str | None) -> None:
    assert owned(country=stated)["country"] == spelled


@pytest.mark.parametrize(
    ("followers", "tier"), [(None, None), (-1, 0), (0, 0), (1, 1), (2, 2), (3, 2), (4, 3), (2**40 - 1, 40), (2**40, 41)]
)
def test_a_tier_is_the_number_of_binary_digits(followers: int | None, tier: int | None) -> None:
    assert owned(followers=followers)["followers_tier"] == tier
    if followers is not None:
        assert tier in tiers_between(followers, followers)
        assert tier in tiers_between(max(followers, 0), None)
        assert tier in tiers_between(None, followers)


@pytest.mark.parametrize(
    ("declared", "detected", "text", "language"),
    [
        ("ja", "zh", "東京都議会議員選挙", "ja"),
        ("zh", "ja", "東京都議会議員選挙", "zh"),
        ("yue", "zh", "香港茶餐廳", "yue"),
        ("ja", "zh", "今日開催 #東京 2026", "ja"),
        ("ja", "zh", "東京のニュース", "zh"),  # the detector has seen kana
        ("ja", "zh", "東京都議会議員選挙" * 5, "zh"),  # too long to be Japanese without kana
        ("ja", "en", "Tokyo election", "en"),
        ("en", "zh", "東京都議会議員選挙", "zh"),
        ("yue", "zh", "香港茶餐廳" * 20, "yue"),  # a kind of what was detected
        ("nn", "no", "Eg elskar fjell og fjordar", "nn"),
        ("arz", "ar", "أهلا وسهلا", "arz"),
        ("no", "da", "Jeg elsker fjell", "da"),
        (None, "zh", "東京", "zh"),
        ("ja", None, "東京", "ja"),
        (None, None, "…", None),
    ],
)
def test_an_account_s_language_holds_where_nobody_can_tell(
    declared: str | None, detected: str | None, text: str, language: str | None
) -> None:
    schema = {"language": pl.String, "text_language": pl.String, "text": pl.String, "post_id": pl.String}
    rows = [{"language": declared, "text_language": detected, "text": text, "post_id": "p"}]
    assert pl.DataFrame(rows, schema=schema).with_columns(language=language_of_text())["language"].to_list() == [
        language
    ]
