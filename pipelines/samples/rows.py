"""The rows of one sample creator in all four tables. They depend on (seed, index) only."""

import random
import re
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

from pipelines.samples.profiles import (
    EPOCH,
    LATEST_DAYS,
    NETWORKS,
    Creator,
    Draft,
    make_creator,
    make_drafts,
    time_within,
)
from pipelines.samples.texts import LONG_TEXT_CHARACTERS, WHITESPACE_TEXTS, load_phrasebook

Row = dict[str, Any]

UNKNOWN_VERTICAL = "interpretive_parkour"
LABELLED_POSTS_PER_ACCOUNT = 20  # no account may dominate the measured quality of a vertical
FULLY_LABELLED_ACCOUNTS = 1000  # people label a sample of fixed size
COUNTRIES = {
    "en": ("US", "GB", "CA", "AU", "NG"),
    "es": ("ES", "MX", "AR"),
    "fr": ("FR", "BE", "SN"),
    "pt": ("BR", "PT"),
    "de": ("DE", "AT", "CH"),
    "ar": ("EG", "SA", "MA"),
    "he": ("IL",),
    "ja": ("JP",),
    "hi": ("IN",),
    "el": ("GR", "CY"),
}


@dataclass
class CreatorRows:
    """The rows of one creator by table, and the count of each kind of planted dirt."""

    tables: dict[str, list[Row]]
    dirt: Counter[str] = field(default_factory=Counter)


def creator_rows(seed: int, index: int) -> CreatorRows:
    """Return the rows of account number `index`. The same arguments give the same rows on every machine."""
    rng = random.Random(f"creator/{seed}/{index}")  # noqa: S311  sample data must be reproducible, not secret
    dirt = Counter(exact_duplicates=0, near_duplicates=0, shared_texts=0, posts_of_deleted_accounts=0)
    creator = make_creator(rng, index)
    drafts = make_drafts(rng, creator, dirt)
    account = _account_row(rng, creator)
    posts = [_post_row(rng, creator, number, draft) for number, draft in enumerate(drafts)]
    labels = _label_rows(rng, creator, posts, drafts)
    if index in (5, 208) and posts:
        posts[-1]["posted_at"] = EPOCH + timedelta(days=5 * 365)
    if index % 100 == 33:
        posts.append(_orphan(rng, creator))
    rows = CreatorRows(
        {"accounts": [account], "posts": posts, "testimonials": _testimonial_rows(rng, creator), "labels": labels}, dirt
    )
    for name, (table, has_dirt) in _DIRT.items():
        dirt[name] = sum(1 for row in rows.tables[table] if has_dirt(row))
    if creator.deleted_at:
        dirt["posts_of_deleted_accounts"] += sum(1 for post in posts if post["account_id"] == creator.account_id)
    return rows


def _account_row(rng: random.Random, creator: Creator) -> Row:
    book = load_phrasebook()
    name = rng.choice(book.names)
    if creator.language == "en":
        bio = f"{name} | {' & '.join(creator.subjects[:2])} | DM for collabs 📩"
    else:
        subject = book.verticals[creator.verticals[0]].translated[creator.language][0]
        bio = rng.choice(book.frames[creator.language]).format(s=subject)
    tag = rng.choice(book.verticals[creator.verticals[0]].tags)
    changed_at = creator.created_at + time_within(rng, (EPOCH - creator.created_at).days)
    return {
        "account_id": creator.account_id,
        "network": creator.network,
        "handle": f"{name}.{tag}{creator.index}",
        "display_name": _unless(rng, 0.03, f"{name} {rng.choice(book.emoji)}" if rng.random() < 0.2 else name),
        "bio": _unless(rng, 0.15, bio),
        "followers": _unless(rng, 0.03, creator.followers),
        "country": _unless(rng, 0.1, rng.choice(COUNTRIES[creator.language])),
        "language": _unless(rng, 0.05, creator.language),
        "created_at": creator.created_at,
        "updated_at": creator.deleted_at or changed_at,
        "deleted_at": creator.deleted_at,
    }


def _post_row(rng: random.Random, creator: Creator, number: int, draft: Draft) -> Row:
    post_id = f"post_{creator.index:07d}_{number:05d}"
    media_type = rng.choice(NETWORKS[creator.network])
    posted_at = EPOCH - time_within(rng, min(700, (EPOCH - creator.created_at).days))
    updated_at, deleted_at = posted_at + time_within(rng, 3), None
    change = rng.random()
    if change < 0.05:  # edited or deleted long after it was posted
        updated_at = EPOCH + time_within(rng, LATEST_DAYS)
        deleted_at = updated_at if change < 0.02 else None
    views = int(creator.followers * rng.lognormvariate(-1.2, 0.8))
    tags = [f"#{tag}" for tag in draft.tags] if rng.random() < 0.05 else list(draft.tags)
    return {
        "post_id": post_id,
        "account_id": creator.account_id,
        "network": creator.network,
        "posted_at": posted_at,
        "text": draft.text,
        "hashtags": tags or rng.choice((None, [])),
        "media_url": None if media_type == "text" else f"https://media.example.com/{post_id}/{media_type}",
        "media_type": media_type,
        "likes": _unless(rng, 0.02, views // rng.randint(8, 40)),
        "comments": _unless(rng, 0.02, views // rng.randint(200, 900)),
        "views": _unless(rng, 0.03, views) if media_type == "video" else None,
        "shares": None if creator.network == "instagram" else views // rng.randint(300, 1500),
        "updated_at": updated_at,
        "deleted_at": deleted_at,
    }


def _orphan(rng: random.Random, creator: Creator) -> Row:
    draft = Draft(f"A post whose account is not in the table, about {creator.subjects[0]}.", creator.verticals[0])
    row = _post_row(rng, creator, 99_999, draft)
    return row | {"account_id": f"gone_{creator.index:07d}"}


def _testimonial_rows(rng: random.Random, creator: Creator) -> list[Row]:
    """Return a testimonial of every third creator, and one of a brand without account at every tenth."""
    owners = [(creator.index % 3 == 0, creator.account_id, "account"), (creator.index % 10 == 4, None, "brand")]
    rows = []
    for _, account_id, kind in (owner for owner in owners if owner[0]):
        brand = rng.choice(load_phrasebook().brands)
        rating, text = rng.choice(load_phrasebook().testimonials)
        created_at = EPOCH - time_within(rng, 180)
        deleted_at = EPOCH + time_within(rng, LATEST_DAYS) if rng.random() < 0.03 else None
        rows.append(
            {
                "testimonial_id": f"testimonial_{kind}_{creator.index:07d}",
                "brand": brand,
                "campaign": _unless(rng, 0.2, f"{brand} {rng.choice(('spring', 'summer', 'launch', 'holiday'))} 2026"),
                "account_id": account_id,
                "author_role": rng.choice(("brand_manager", "agency", "customer", None)),
                "text": _unless(rng, 0.03, text.format(s=rng.choice(creator.subjects))),
                "rating": _unless(rng, 0.25, rating),
                "created_at": created_at,
                "updated_at": deleted_at or created_at + time_within(rng, 10),
                "deleted_at": deleted_at,
            }
        )
    return rows


def _label_rows(rng: random.Random, creator: Creator, posts: list[Row], drafts: list[Draft]) -> list[Row]:
    """Return true labels of some items over all verticals, and at times a row about an unknown item or vertical."""
    early = creator.index < FULLY_LABELLED_ACCOUNTS
    rows: list[Row] = []
    if posts and rng.random() < (0.6 if early else 0.05):
        rows += _label_item(rng, "account", creator.account_id, creator.verticals)
    chosen = [pair for pair in zip(posts, drafts, strict=True) if rng.random() < (0.4 if early else 0.02)]
    for post, draft in [pair for pair in chosen if pair[1].has_words][:LABELLED_POSTS_PER_ACCOUNT]:
        rows += _label_item(rng, "post", post["post_id"], (draft.vertical,))
    if creator.index % 100 == 8:
        rows.append(_label("account", creator.account_id, UNKNOWN_VERTICAL, True, None))
    if creator.index % 100 == 9:
        rows.append(_label("post", f"unknown_{creator.index:07d}", creator.verticals[0], True, None))
    return rows


def _label_item(rng: random.Random, kind: str, item_id: str, members: tuple[str, ...]) -> list[Row]:
    annotator = rng.choice((None, "generator"))
    return [_label(kind, item_id, name, name in members, annotator) for name in load_phrasebook().verticals]


def _label(kind: str, item_id: str, vertical: str, is_member: bool, annotator: str | None) -> Row:
    values = (kind, item_id, vertical, is_member, annotator)
    return dict(zip(("item_kind", "item_id", "vertical", "is_member", "annotator"), values, strict=True))


def _unless(rng: random.Random, null_share: float, value: Any) -> Any:
    return None if rng.random() < null_share else value


def _is_rtl(text: str) -> bool:
    return any("\u0590" <= character <= "\u06ff" for character in text)


def _text_test(has_dirt: Callable[[str], bool]) -> tuple[str, Callable[[Row], bool]]:
    return "posts", lambda row: row["text"] is not None and has_dirt(row["text"])


# Kind of dirt → its table, and the test of a row.
_DIRT: Mapping[str, tuple[str, Callable[[Row], bool]]] = {
    "deleted_accounts": ("accounts", lambda row: row["deleted_at"] is not None),
    "deleted_posts": ("posts", lambda row: row["deleted_at"] is not None),
    "orphan_posts": ("posts", lambda row: row["account_id"].startswith("gone_")),
    "future_posts": ("posts", lambda row: row["posted_at"] > EPOCH),
    "late_updates": ("posts", lambda row: row["updated_at"] > row["posted_at"] + timedelta(days=30)),
    "null_views": ("posts", lambda row: row["views"] is None),
    "null_hashtags": ("posts", lambda row: row["hashtags"] is None),
    "null_texts": ("posts", lambda row: row["text"] is None),
    "empty_texts": _text_test(lambda text: text == ""),
    "whitespace_texts": _text_test(lambda text: text in WHITESPACE_TEXTS),
    "long_texts": _text_test(lambda text: len(text) > LONG_TEXT_CHARACTERS),
    "rtl_texts": _text_test(_is_rtl),
    "zwj_emoji": _text_test(lambda text: "\u200d" in text),
    "skin_tones": _text_test(lambda text: any("\U0001f3fb" <= character <= "\U0001f3ff" for character in text)),
    "html_entities": _text_test(lambda text: re.search(r"&#?\w+;", text) is not None),
    "urls": _text_test(lambda text: "https://" in text.lower()),
    "mentions": _text_test(lambda text: " @" in text),
    "brand_testimonials": ("testimonials", lambda row: row["account_id"] is None),
    "null_ratings": ("testimonials", lambda row: row["rating"] is None),
    "unknown_vertical_labels": ("labels", lambda row: row["vertical"] == UNKNOWN_VERTICAL),
    "unknown_item_labels": ("labels", lambda row: row["item_id"].startswith("unknown_")),
}
