"""Every stage that works on a text, as a function of one text, to compare its time at two sizes."""

from collections.abc import Callable
from contextlib import suppress
from html import escape

import polars as pl
import pyarrow as pa

from assets.dropped_files import label_rows
from assets.transforms.audience import read_report
from assets.transforms.claims import contradiction
from assets.transforms.delimited import UnusableReportError
from assets.transforms.markdown import as_markdown
from assets.transforms.marts.csv_files import as_csv
from assets.transforms.search.marking import marked
from assets.transforms.search.query_language import folded, parse
from assets.transforms.search.questions import topic
from assets.transforms.search.spelling import count_words, words_in
from assets.transforms.search.trust import script_of
from assets.transforms.source.recasting import recast
from assets.transforms.summaries.accounts import excerpt, extract
from assets.transforms.summaries.sentences import sentences as telling_sentences
from assets.transforms.text.boilerplate import without_boilerplate
from assets.transforms.text.chunking import chunk_text
from assets.transforms.text.cleaning import clean, clean_lines, with_hashtags
from assets.transforms.text.corpus import has_words
from assets.transforms.text.near_duplicates import near_duplicates, shingles
from assets.transforms.text.sentences import sentences
from pipelines.cli.files.spreadsheet_rows import cell_text
from pipelines.cli.presentation import beginning
from pipelines.cli.terminal import shown
from resources.catalogues.audience import load_audience_columns
from resources.erasure.terms import CanarySearch, Matches, SearchTerms
from resources.erasure.tombstones import KeyedHash, Subject
from resources.erasure.values import search_csv, search_json
from resources.isolation.worker import RefusedFileError
from resources.models.analyzer import document_terms
from resources.models.embedder import MiniLmModel
from resources.models.languages import identify
from resources.plain_text import as_code, plain, without_controls
from resources.vectors.bm25 import SparseEncoder

_TERMS = SearchTerms(Subject("creator-0-12345", KeyedHash(b"k" * 40)), ("canary-text", "ümlaut-canary"))
_COLUMNS = load_audience_columns()


def _searched(text: str) -> None:
    matches = Matches(_TERMS, CanarySearch(_TERMS))
    search_json(text.encode(), matches)
    search_csv("a.csv", text.encode(), matches)
    matches.search_values("text", [text])
    matches.search.flush()


def _corpus(text: str) -> None:
    once = clean(text)
    with_hashtags(once, text.split()[:1_000])
    has_words(once)
    clean_lines(text)


def _chunks(text: str) -> None:
    once, tokenizer = clean(text), MiniLmModel.open_tokenizer()
    for offsets in tokenizer.token_offsets([once]):
        chunk_text(once, offsets, 200)
    tokenizer.token_counts([text])


def _duplicates(raw: str) -> None:
    text = clean(raw)
    half = len(text) // 2
    shingles(text)
    near_duplicates([text[:half], text[half:], text])
    without_boilerplate([[text[:half], text[half:]], clean_lines(raw)])


def _summary(text: str) -> None:
    telling_sentences(text.split("\n"), "en")
    extract([text], "en", [1.0], document_terms)
    excerpt(text)


def _query(text: str) -> None:
    topic(text)
    folded(text)
    parse(text)
    words_in(text)
    script_of(text)
    contradiction(text[: len(text) // 2], [text], text)


def _cells(text: str) -> None:
    rows = pl.DataFrame({"text": [text]})
    as_csv(rows)
    rows.select(cell_text(pl.col("text")))
    count_words(rows["text"])


def _source(text: str) -> None:
    recast(pl.Series([text, "{" + text + "}", "[" + text]), pa.list_(pa.string()))


def _report(text: str) -> None:
    with suppress(UnusableReportError):  # a refused report is a right outcome
        read_report("a-2026-03-01.csv", f"account_id;country_DE\n{text}".encode(), _COLUMNS)


def _labels(text: str) -> None:
    for name, body in (("a.csv", f"item_kind,item_id,vertical,is_member\n{text}"), ("a.jsonl", text)):
        with suppress(RefusedFileError):
            list(label_rows(name, body.encode()))


def _shown(text: str) -> None:
    for write in (plain, as_code, without_controls, as_markdown, shown, beginning, escape):
        write(text)


STAGES: dict[str, Callable[[str], object]] = {
    "recasting": _source,
    "cleaning": _corpus,
    "chunking": _chunks,
    "near-duplicates": _duplicates,
    "sentences": lambda text: sentences(text, "en"),
    "languages": lambda text: identify([text]),
    "analyzer": document_terms,
    "BM25": lambda text: SparseEncoder().encode_documents([text]),
    "marking": lambda text: marked(text, frozenset({1}), lambda word: frozenset({len(word)})),
    "summaries": _summary,
    "queries": _query,
    "audience files": _report,
    "label files": _labels,
    "CSV and Excel": _cells,
    "erasure scan": _searched,
    "terminal and page": _shown,
}
"""Stage → its work on one text."""
