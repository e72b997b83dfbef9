"""The profile of a sample creator (language, verticals, subjects), and the texts of its posts with their dirt."""

import math
import random
from collections import Counter
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from pipelines.samples.texts import WHITESPACE_TEXTS, compose, decorate, load_phrasebook, long_text, near_duplicate

EPOCH = datetime(2026, 10, 1, tzinfo=UTC)  # time of the last post; updates and deletes follow within LATEST_DAYS
LATEST_DAYS = 29
LANGUAGES = {"en": 60, "es": 8, "fr": 6, "pt": 6, "de": 5, "ar": 4, "he": 3, "ja": 3, "hi": 3, "el": 2}
NETWORKS = {
    "instagram": ("image", "carousel", "video"),
    "tiktok": ("video",),
    "youtube": ("video",),
    "x": ("text", "image"),
}


@dataclass(frozen=True)
class Creator:
    """The profile of an account. `subjects` are its usual subjects, in English; the first is its main one."""

    index: int
    account_id: str
    network: str
    language: str
    followers: int
    verticals: tuple[str, ...]
    subjects: tuple[str, ...]
    created_at: datetime
    deleted_at: datetime | None
    post_count: int
    posts_all_day: bool


@dataclass(frozen=True)
class Draft:
    """A post's text and its true vertical. A text without words cannot be labelled."""

    text: str | None
    vertical: str
    tags: tuple[str, ...] = ()

    @property
    def has_words(self) -> bool:
        """Whether the text is more than white space."""
        return self.text is not None and self.text not in ("", *WHITESPACE_TEXTS)


def make_creator(rng: random.Random, index: int) -> Creator:
    """Return the profile of account number `index`. Main verticals and lead subjects rotate, so that all occur."""
    book = load_phrasebook()
    names = tuple(book.verticals)
    main = names[index % len(names)]
    verticals: tuple[str, ...] = (main,)
    if rng.random() < 0.4:
        verticals += (rng.choice([name for name in names if name not in (main, "daily_life")]),)
    lead = book.verticals[main].subjects[index // len(names) % len(book.verticals[main].subjects)]
    posts_all_day = index % 300 == 299
    in_english = posts_all_day or index < len(names)  # a small sample has to answer English queries on every vertical
    language = rng.choices(tuple(LANGUAGES), tuple(LANGUAGES.values()))[0]
    post_count = 1400 if posts_all_day else min(200, int(rng.lognormvariate(math.log(12.5), 0.5)))
    if index % 3000 == 2999:
        post_count = 5000
    return Creator(
        index=index,
        account_id=f"acc_{index:07d}",
        network=rng.choice(tuple(NETWORKS)),
        language="en" if in_english else language,
        followers=int(rng.lognormvariate(math.log(20_000), 1.6)) + 50,
        verticals=verticals,
        subjects=(lead, *(s for name in verticals for s in rng.sample(book.verticals[name].subjects, 3) if s != lead)),
        created_at=EPOCH - timedelta(days=rng.randint(200, 1100), seconds=rng.randrange(86_400)),
        deleted_at=EPOCH + time_within(rng, LATEST_DAYS) if index % 50 == 17 else None,
        post_count=0 if index % 97 == 13 else post_count,
        posts_all_day=posts_all_day,
    )


def make_drafts(rng: random.Random, creator: Creator, dirt: Counter[str]) -> list[Draft]:
    """Return the texts of a creator's posts in order. Count planted duplicates in `dirt`."""
    if creator.posts_all_day:
        # Thousands of posts with few distinct texts, as in real data: every distinct text costs an embedding.
        greetings = [Draft(text, "daily_life") for text in load_phrasebook().greetings]
        pool = greetings + [_fresh_draft(rng, creator) for _ in range(80)]
        drafts = [rng.choice(pool) for _ in range(creator.post_count)]
        dirt["exact_duplicates"] += creator.post_count - len({draft.text for draft in drafts})
        return drafts
    drafts = []
    for _ in range(creator.post_count):
        drafts.append(_next_draft(rng, creator, drafts, dirt))
    if creator.index % 75 == 20 and drafts:
        vertical = creator.verticals[0]
        subjects = load_phrasebook().verticals[vertical].subjects
        drafts.append(Draft(long_text(rng, vertical, creator.language, subjects), vertical))
    return drafts


def _next_draft(rng: random.Random, creator: Creator, earlier: list[Draft], dirt: Counter[str]) -> Draft:
    roll = rng.random()
    repeatable = [draft for draft in earlier if draft.has_words]
    if repeatable and roll < 0.09:
        source = rng.choice(repeatable)
        if roll < 0.05:
            dirt["exact_duplicates"] += 1
            return source
        dirt["near_duplicates"] += 1
        return Draft(near_duplicate(rng, source.text or ""), source.vertical, source.tags)
    vertical = _topic(rng, creator)
    if roll > 0.97:
        kinds: tuple[str | None, ...] = ("", None, rng.choice(WHITESPACE_TEXTS))
        return Draft(rng.choice(kinds), vertical)
    if roll > 0.94:
        dirt["shared_texts"] += 1
        return Draft(rng.choice(load_phrasebook().verticals[vertical].shared), vertical)
    return _fresh_draft(rng, creator, vertical)


def _fresh_draft(rng: random.Random, creator: Creator, vertical: str | None = None) -> Draft:
    vertical = vertical or _topic(rng, creator)
    phrases = load_phrasebook().verticals[vertical]
    focus = [subject for subject in creator.subjects if subject in phrases.subjects]
    subjects: tuple[str, ...] = tuple(focus) if focus and rng.random() < 0.85 else phrases.subjects
    if creator.subjects[0] in focus and rng.random() < 0.5:
        subjects = creator.subjects[:1]
    language = "en" if rng.random() < 0.25 else creator.language
    tags = tuple(rng.sample(phrases.tags, rng.randint(0, 3)))
    return Draft(decorate(rng, compose(rng, vertical, language, subjects), tags), vertical, tags)


def _topic(rng: random.Random, creator: Creator) -> str:
    if rng.random() < 0.2:
        return "daily_life"
    return creator.verticals[0] if rng.random() < 0.65 else creator.verticals[-1]


def time_within(rng: random.Random, days: int) -> timedelta:
    """Return a random time of at least one second and at most `days`, in whole seconds."""
    return timedelta(seconds=rng.randint(1, days * 86_400))
