"""Choose what the testimonials of a brand say: the best sentences of praise, of criticism and of neither."""

import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace

import polars as pl

from assets.transforms.marts.values import live, percent
from assets.transforms.summaries.accounts import SENTENCES_A_POST, Analyze, Quoted, best
from assets.transforms.summaries.sentences import sentences
from assets.transforms.text.cleaning import clean_lines

POSITIVE, NEGATIVE, NEITHER = "positive", "negative", "neither"
TEXTS_READ = 60
"""The most testimonials of a group and polarity whose sentences are ranked, the newest. Ranking takes time and memory
of the number of their sentences squared."""
NO_TEXT, NO_SENTENCE = "No testimonial has a text.", "No sentence of the testimonials says something by itself."
GROUP = ("brand", "campaign")
_LEAST_SHARED, _LEAST_LETTERS, _MOST_OF_A_THEME = 2, 3, 2
_WORD = re.compile(r"[^\W\d_]+")
_PAUSE = re.compile(r"[^\w\s]+")
CLAIMS_SCHEMA: dict[str, pl.DataType | type[pl.DataType]] = {
    "brand": pl.String,
    "campaign": pl.String,
    "claims": pl.List(pl.String),
    "testimonial_ids": pl.List(pl.List(pl.String)),
    "polarities": pl.List(pl.String),
    "themes": pl.List(pl.String),
}


@dataclass
class Sentence:
    """A sentence, and the ids of the testimonials that say it, the newest first."""

    quoted: Quoted
    ids: list[str] = field(default_factory=list)


def current(testimonials: pl.LazyFrame, accounts: pl.LazyFrame) -> pl.LazyFrame:
    """Return the live testimonials of a brand alone, and those about a known account that is not deleted."""
    found = live(testimonials)
    of_accounts = found.join(live(accounts).select("account_id"), on="account_id", how="semi")
    return pl.concat([found.filter(pl.col("account_id").is_null()), of_accounts])


def grouped(testimonials: pl.LazyFrame) -> pl.DataFrame:
    """Return a row per group and testimonial, without texts. ``name`` is 64 bits of a hash of what is read of it.

    A testimonial is in the group of its brand, whose campaign is null, and in that of its campaign if it names one.
    """
    rating = pl.col("rating")
    polarity = pl.when(rating.is_between(4, 5)).then(pl.lit(POSITIVE)).when(rating.is_between(1, 2))
    read = ("testimonial_id", "rating", "created_at", "text")
    rows = testimonials.select(
        *GROUP,
        *read[:-1],
        has_text=pl.col("text").str.strip_chars().str.len_bytes() > 0,
        polarity=polarity.then(pl.lit(NEGATIVE)).otherwise(pl.lit(NEITHER)),
        name=pl.sum_horizontal(pl.col(name).hash(number) for number, name in enumerate(read)).hash(),
    )
    of_brand = rows.with_columns(campaign=pl.lit(None, pl.String))
    return pl.concat([of_brand, rows.filter(pl.col("campaign").is_not_null())]).collect()


def figures(rows: pl.DataFrame) -> pl.DataFrame:
    """Return a row per group of the result of `grouped`: its ratings, and ``made_of``, which changes with its rows."""
    rating = pl.col("rating").cast(pl.Float64)

    def share(polarity: str) -> pl.Expr:
        return percent((pl.col("polarity") == polarity).sum(), rating.count())

    found = rows.group_by(GROUP).agg(
        testimonials=pl.len().cast(pl.Int64),
        rated=rating.count().cast(pl.Int64),
        average_rating=rating.mean(),
        positive_percent=share(POSITIVE),
        negative_percent=share(NEGATIVE),
        made_of=pl.col("name").sum().reinterpret(signed=True),
        has_text=pl.col("has_text").any(),
    )
    return found.sort(GROUP)


def newest(rows: pl.DataFrame, groups: pl.DataFrame) -> pl.DataFrame:
    """Return the testimonials of some groups whose texts are read: of each polarity the newest, newest first."""
    of_groups = rows.filter("has_text").join(groups, on=GROUP, how="semi", nulls_equal=True)
    ordered = of_groups.sort("created_at", "testimonial_id", descending=[True, False], nulls_last=True)
    return ordered.group_by(*GROUP, "polarity", maintain_order=True).head(TEXTS_READ)


def claims(rows: pl.DataFrame, analyze: Analyze, keywords: Analyze) -> pl.DataFrame:
    """Return the claims of each group, in the columns of CLAIMS_SCHEMA: of each polarity the best, best first.

    ``rows`` is the result of `newest` with each testimonial's ``text`` and ``language`` (ISO 639-1, null if unknown).
    ``analyze`` returns a text's terms, ``keywords`` those that are no stop words. A claim's theme is the phrase of it
    that most testimonials of the group have, null if no other has one. Of a polarity, at most two have the same theme.
    """
    found = []
    for group, of_group in rows.group_by(GROUP, maintain_order=True):
        languages = of_group["language"].drop_nulls().value_counts().sort("count", "language", descending=[True, False])
        language = languages["language"][0] if languages.height else ""
        said = {
            polarity: _said(of_group.filter(polarity=polarity), language) for polarity in (POSITIVE, NEGATIVE, NEITHER)
        }
        shared = _shared(said, keywords)
        own = _words_of(group)
        made = []
        for polarity, of_polarity in said.items():
            every = [replace(sentence.quoted, times=len(sentence.ids)) for sentence in of_polarity.values()]
            themes: Counter[str | None] = Counter()
            for quoted in best(every, [1.0] * len(every), language, analyze, opinions=True):
                theme = _theme(quoted.text, shared, own, keywords)
                themes[theme] += 1
                if theme is None or themes[theme] <= _MOST_OF_A_THEME:
                    made.append((quoted.text, of_polarity[quoted.text.casefold()].ids, polarity, theme))
        found.append((*group, *([claim[column] for claim in made] for column in range(4))))
    return pl.DataFrame(found, schema=CLAIMS_SCHEMA, orient="row")


def themes(
    claims: Sequence[str], texts: Mapping[str, str], group: Sequence[str | None], keywords: Analyze
) -> list[str | None]:
    """Return the theme of each claim of a group, as `claims` finds them. ``texts``: testimonial id → text."""
    shared = Counter(phrase for text in texts.values() for phrase in set(_phrases(text, keywords)))
    own = _words_of(group)
    return [_theme(claim, shared, own, keywords) for claim in claims]


def _words_of(group: Iterable[object]) -> set[str]:
    return {word for name in group if name for word in _WORD.findall(str(name).casefold())}


def _said(rows: pl.DataFrame, language: str) -> dict[str, Sentence]:
    """Return the sentences of some testimonials by their lower case, so that each counts once."""
    found: dict[str, Sentence] = {}
    for number, (of, text) in enumerate(rows.select("testimonial_id", "text").iter_rows()):
        for part in sentences(clean_lines(text or ""), language)[:SENTENCES_A_POST]:
            sentence = found.setdefault(part.casefold(), Sentence(Quoted(number, part)))
            if of not in sentence.ids:
                sentence.ids.append(of)
    return found


def _shared(said: Mapping[str, Mapping[str, Sentence]], keywords: Analyze) -> Counter[str]:
    """Return phrase → number of testimonials that have it."""
    of_each: dict[str, set[str]] = {}
    for sentence in (one for of_polarity in said.values() for one in of_polarity.values()):
        phrases = set(_phrases(sentence.quoted.text, keywords))
        for of in sentence.ids:
            of_each.setdefault(of, set()).update(phrases)
    return Counter(phrase for phrases in of_each.values() for phrase in phrases)


def _theme(text: str, shared: Mapping[str, int], own: set[str], keywords: Analyze) -> str | None:
    """Return the phrase of a text that most testimonials have; two words count twice. The brand's name is none."""
    phrases = [
        phrase
        for phrase in _phrases(text, keywords)
        if shared[phrase] >= _LEAST_SHARED and own.isdisjoint(phrase.split())
    ]
    return max(phrases, key=lambda phrase: shared[phrase] * len(phrase.split()), default=None)


def _phrases(text: str, keywords: Analyze) -> Iterator[str]:
    """Yield the words of a text that are no stop words, and pairs of them that nothing separates."""
    content = set(keywords(text))
    for part in _PAUSE.split(text.casefold()):
        before = ""
        for word in _WORD.findall(part):
            is_content = len(word) >= _LEAST_LETTERS and content.issuperset(keywords(word))
            if is_content:
                yield word
                if before:
                    yield f"{before} {word}"
            before = word if is_content else ""
