"""Write summaries: the sentences that say best what an account's posts say, each with the post that it is from."""

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import polars as pl

from assets.transforms.summaries.ranking import MOST_ALIKE, choose, lexrank, similarities
from assets.transforms.summaries.sentences import is_personal, sentences
from assets.transforms.text.boilerplate import LEAST_POSTS
from assets.transforms.text.cleaning import clean_lines

SUMMARY_CHARACTERS = 400
EXCERPT_CHARACTERS = 280
SENTENCES_A_POST = 12
_LEAST_PRIOR = 0.05
_PERSONAL_WEIGHT, _OPINIONS_ALIKE = 0.4, 0.3
"""Of opinions. Fitted on 58 products and places with reviews (train split of FewSum): ROUGE-1 went from .306 to .334,
and on 42 others from .299 to .324. A creator's own posts are personal, so accounts are summarised without both."""
SUMMARIES_SCHEMA: dict[str, pl.DataType | type[pl.DataType]] = {
    "account_bucket": pl.Int32,
    "account_id": pl.String,
    "summary": pl.String,
    "post_ids": pl.List(pl.String),
    "language": pl.String,
    "posts": pl.Int64,
}
Analyze = Callable[[str], Sequence[str]]
"""Returns the terms of a text, as search does."""


@dataclass(frozen=True)
class Quoted:
    """A sentence, the number of the post that it is from, and how many say it. What many say ranks as their sum."""

    post: int
    text: str
    times: int = 1


def extract(
    texts: Sequence[str], language: str, centrality: Sequence[float], analyze: Analyze, *, opinions: bool = False
) -> list[Quoted]:
    """Return the sentences of some texts that summarise them, best first; none if no sentence says something.

    ``language`` is the texts' (ISO 639-1). ``centrality`` gives each text's weight. ``opinions``: the texts are of many
    people about one thing, so what one says of herself counts less than what she says of it. Memory and time: the
    square of the number of sentences, at most SENTENCES_A_POST of a text.
    """
    by_text = [sentences(clean_lines(text), language)[:SENTENCES_A_POST] for text in texts]
    times = Counter(key for of_text in by_text for key in {sentence.casefold() for sentence in of_text})
    everything = [Quoted(number, sentence) for number, of_text in enumerate(by_text) for sentence in of_text]
    found = [quoted for quoted in everything if times[quoted.text.casefold()] < LEAST_POSTS] or everything
    return best(found, [centrality[quoted.post] for quoted in found], language, analyze, opinions=opinions)


def best(
    found: Sequence[Quoted], weights: Sequence[float], language: str, analyze: Analyze, *, opinions: bool = False
) -> list[Quoted]:
    """Return the sentences that summarise all of ``found``, best first. The others are as in `extract`."""
    if not found:
        return []
    # Without numbers: an episode's number or date makes no other sentence of its title.
    alike = similarities([[term for term in analyze(quoted.text) if not term.isdigit()] for quoted in found])
    prior = np.array([max(weight, _LEAST_PRIOR) for weight in weights], np.float64)
    of_post, lengths = [quoted.post for quoted in found], [len(quoted.text) for quoted in found]
    rank, most_alike = lexrank(alike, prior) * [float(quoted.times) for quoted in found], MOST_ALIKE
    if opinions:
        rank = rank * [_PERSONAL_WEIGHT if is_personal(quoted.text, language) else 1.0 for quoted in found]
        most_alike = _OPINIONS_ALIKE
    return [found[number] for number in choose(rank, alike, lengths, of_post, SUMMARY_CHARACTERS, most_alike)]


def summarise(chosen: pl.DataFrame, texts: pl.DataFrame, analyze: Analyze, *, opinions: bool = False) -> pl.DataFrame:
    """Return a summary per account, in the columns of SUMMARIES_SCHEMA.

    ``chosen`` is the result of `chosen_posts`, ``texts`` has (post_id, text), as their authors wrote them. Line n of a
    summary is from post n of ``post_ids``. An account without a sentence that says something gets the beginning of its
    most central post. ``opinions``: see `extract`.
    """
    rows = []
    joined = chosen.join(texts, on="post_id", how="left", maintain_order="left")
    for (bucket, account), group in joined.group_by("account_bucket", "account_id", maintain_order=True):
        posts, language = group["post_id"], group["language"][0]
        own = group["text"].fill_null("").to_list()
        found = extract(own, language, group["centrality"].to_list(), analyze, opinions=opinions)
        text = "\n".join(quoted.text for quoted in found) or excerpt(group["excerpt"][0])
        cited = [posts[quoted.post] for quoted in found] or [posts[0]]
        rows.append((bucket, account, text, cited, language, group["posts"][0]))
    return pl.DataFrame(rows, schema=SUMMARIES_SCHEMA, orient="row")


def excerpt(text: str, limit: int = EXCERPT_CHARACTERS) -> str:
    """Return the beginning of a text. A longer text is cut, at a space in its second half if any, and gets an "…"."""
    if len(text) <= limit:
        return text
    head = text[: limit - 1]
    cut = head.rfind(" ")
    return (head[:cut] if cut > limit // 2 else head).rstrip() + "…"
