"""Read a judged test collection in BEIR's layout, as Parquet and TSV, and validate it."""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from resources.errors import InputError

_BATCH_ROWS = 2_048
_EXPECTED = "expected one with corpus.parquet, queries.parquet and qrels_test.tsv"
_HEADER = re.compile(r"\s*(query-id|query_id|qid)\s*\t.*", re.IGNORECASE | re.DOTALL)
_JUDGEMENT = re.compile(r"\s*([^\t]*[^\t\s])\s*\t\s*([^\t]*[^\t\s])\s*\t\s*(-?[0-9]{1,6})\s*")


@dataclass(frozen=True)
class Document:
    """One document; ``text`` is its title and its text."""

    doc_id: str
    text: str


@dataclass(frozen=True)
class JudgedCollection:
    """A validated folder. ``queries`` are the judged queries of the test split: id → text.

    ``grades`` are query id → document id → grade. ``documents_expected`` is the row count of the corpus file.
    ``queries_without_text`` counts judged queries that the test split lacks.
    """

    corpus: Path
    documents_expected: int
    queries: Mapping[str, str]
    grades: Mapping[str, Mapping[str, int]]
    queries_without_text: int

    def batches(self) -> Iterator[list[Document]]:
        """Yield the documents, 2,048 at a time. Raise InputError for a missing id."""
        for rows in _rows(self.corpus, ("doc_id", "title", "text")):
            yield [
                Document(_id(self.corpus, "doc_id", doc_id), " ".join(part for part in (title, text) if part))
                for doc_id, title, text in rows
            ]


def open_collection(folder: Path) -> JudgedCollection:
    """Read and validate a folder. Raise InputError at the first problem."""
    if not folder.is_dir():
        raise InputError(f"{folder} is not a folder; {_EXPECTED}.")
    for name in ("corpus.parquet", "queries.parquet", "qrels_test.tsv"):
        if not (folder / name).is_file():
            raise InputError(f"{folder} has no {name}; {_EXPECTED}.")
    corpus, qrels = folder / "corpus.parquet", folder / "qrels_test.tsv"
    documents = _opened(corpus, ("doc_id", "title", "text")).metadata.num_rows
    if not documents:
        raise InputError(f"{corpus} has no rows; expected a document in each.")
    grades, asked = _grades(qrels), _queries(folder / "queries.parquet")
    queries = {query: asked[query] for query in grades if query in asked}
    if not any(grade > 0 for query in queries for grade in grades[query].values()):
        raise InputError(
            f"{qrels} judges no query of the test split of queries.parquet; expected a grade above 0 for some."
        )
    return JudgedCollection(
        corpus, documents, queries, {query: grades[query] for query in queries}, len(grades) - len(queries)
    )


def _queries(path: Path) -> dict[str, str]:
    found: dict[str, str] = {}
    for rows in _rows(path, ("query_id", "text", "split")):
        for query_id, text, split in rows:
            if split and split.strip().lower() == "test" and text and text.strip():
                key = _id(path, "query_id", query_id)
                if found.setdefault(key, text) != text:
                    raise InputError(f"{path} has query {key} twice with different texts; expected each id once.")
    return found


def _grades(path: Path) -> dict[str, dict[str, int]]:
    found: dict[str, dict[str, int]] = {}
    try:
        with path.open(encoding="utf-8-sig") as lines:
            for number, line in enumerate(lines, start=1):
                if judgement := _JUDGEMENT.fullmatch(line):
                    query, document, grade = judgement.groups()
                    found.setdefault(query, {})[document] = int(grade)
                elif line.strip() and not (number == 1 and _HEADER.fullmatch(line)):
                    raise InputError(
                        f"{path} line {number} is not query-id, corpus-id and a whole grade, separated by tabs "
                        "(a grade has up to six digits)."
                    )
    except UnicodeDecodeError:
        raise InputError(
            f"{path} is not UTF-8 text; expected lines of query-id, corpus-id and grade, separated by tabs."
        ) from None
    return found


def _opened(path: Path, columns: Sequence[str]) -> pq.ParquetFile:
    try:
        parquet = pq.ParquetFile(path)
    except (pa.ArrowException, OSError) as error:
        raise InputError(f"{path} cannot be read as Parquet: {str(error).splitlines()[0]}") from None
    for name in columns:
        times = parquet.schema_arrow.names.count(name)
        if not times:
            raise InputError(f"{path} has no column {name}; expected {', '.join(columns)}.")
        if times > 1:
            raise InputError(f"{path} has more than one column {name}; expected each once.")
    return parquet


def _rows(path: Path, columns: Sequence[str]) -> Iterator[list[tuple[str | None, ...]]]:
    """Yield rows of some columns as text, in batches; ids may be integers in the file."""
    parquet = _opened(path, columns)
    for name in columns:
        kind = parquet.schema_arrow.field(name).type
        kind = kind.value_type if pa.types.is_dictionary(kind) else kind
        is_text = pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_string_view(kind)
        if not (is_text or pa.types.is_null(kind) or (name.endswith("_id") and pa.types.is_integer(kind))):
            raise InputError(f"{path} column {name} has type {kind}; expected text.")
    try:
        for batch in parquet.iter_batches(_BATCH_ROWS, columns=list(columns)):
            batch.validate(full=True)  # Parquet's text need not be UTF-8
            texts = (batch.column(name).cast(pa.string()).to_pylist() for name in columns)
            yield list(zip(*texts, strict=True))
    except (pa.ArrowException, OSError) as error:
        raise InputError(f"{path} cannot be read: {str(error).splitlines()[0]}") from None


def _id(path: Path, column: str, value: str | None) -> str:
    if not value or not value.strip():
        raise InputError(f"{path} has a row without {column}; expected one in every row.")
    return value.strip()
