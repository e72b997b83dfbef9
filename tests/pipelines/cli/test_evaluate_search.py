"""`cippus evaluate search` on generated collections, beside exact search in numpy and a BM25 of the test's own."""

import io
import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from numpy.typing import NDArray

from assets.transforms.search.ranking import Retriever
from pipelines.cli.evaluation.beir_folder import open_collection
from pipelines.cli.evaluation.search import SearchEvaluation, evaluate_search
from resources.errors import InputError
from tests.fakes.embedder import CountingEmbedder

TOPICS, WORDS_A_TOPIC, DOCUMENTS, QUERIES = 30, 12, 400, 40
FILLER, TOPIC_NEARNESS = 200, 0.75


class WordEmbedder(CountingEmbedder):
    """A text is the mean of its words; the words of a topic are near each other, and codes mean nothing."""

    name = "words@1"

    def vector(self, text: str) -> NDArray[np.float32]:
        words = text.lower().split() or ["nothing"]
        mean = np.mean([self._word(word) for word in words], axis=0)
        return np.asarray(mean / np.linalg.norm(mean), np.float32)

    @cache  # noqa: B019 - one embedder a test
    def _word(self, word: str) -> NDArray[np.float64]:
        own = super().vector(word).astype(np.float64)
        topic = word.split("x")[0]
        if topic.startswith("code"):
            return 0 * own
        return own if topic.startswith("fill") else own + TOPIC_NEARNESS * super().vector(topic)


@dataclass(frozen=True)
class Collection:
    """Documents (id, title, text), queries (id, text, split), and grades: query id → document id → grade."""

    documents: Sequence[tuple[str, str | None, str | None]]
    queries: Sequence[tuple[str, str, str]]
    grades: Mapping[str, Mapping[str, int]]

    def write(self, folder: Path) -> Path:
        folder.mkdir(exist_ok=True)
        documents = pl.DataFrame(
            self.documents, schema=dict.fromkeys(("doc_id", "title", "text"), pl.String), orient="row"
        )
        documents.write_parquet(folder / "corpus.parquet")
        queries = pl.DataFrame(self.queries, schema=["query_id", "text", "split"], orient="row")
        queries.write_parquet(folder / "queries.parquet")
        lines = [f"{q}\t{d}\t{grade}\n" for q, held in self.grades.items() for d, grade in held.items()]
        (folder / "qrels_test.tsv").write_text("query-id\tcorpus-id\tscore\n" + "".join(lines))
        return folder

    def text(self, number: int) -> str:
        return f"{self.documents[number][1]} {self.documents[number][2]}"


def generated(seed: int = 3) -> Collection:
    """Documents about one topic and, in passing, another; a query holds words of one, some of others."""
    random = np.random.default_rng(seed)

    def words(topic: int, count: int) -> list[str]:
        return [f"t{topic}x{n}" for n in np.minimum(random.zipf(1.5, count), WORDS_A_TOPIC)]

    def filler(count: int) -> list[str]:
        return [f"fill{n}" for n in np.minimum(random.zipf(1.2, count), FILLER)]

    documents, topic_of = [], []
    for number in range(DOCUMENTS):
        topic, other = (int(t) for t in random.integers(0, TOPICS, 2))
        text = words(topic, int(random.integers(1, 5))) + words(other, 1) + filler(int(random.integers(2, 60)))
        documents.append((f"d{number}", " ".join(words(topic, 1)), " ".join(random.permutation(text))))
        topic_of.append(topic)
    queries, grades = [], {}
    for number in range(QUERIES):
        topic = int(random.integers(TOPICS))
        queries.append((f"q{number}", " ".join(words(topic, 2) + filler(3)), "test"))
        grades[f"q{number}"] = {f"d{n}": 1 + (n % 2) for n, of in enumerate(topic_of) if of == topic}
    queries.append(("train", "t1x1", "train"))
    grades["train"] = {"d0": 1}
    return Collection(documents, queries, {q: held for q, held in grades.items() if held})


def mean_ndcg(collection: Collection, ranked: Mapping[str, Sequence[str]]) -> float:
    found = []
    for query_id, order in ranked.items():
        grades = collection.grades[query_id]
        gained = sum(grades.get(d, 0) / math.log2(place + 2) for place, d in enumerate(order[:10]))
        best = sorted(grades.values(), reverse=True)[:10]
        found.append(gained / sum(grade / math.log2(place + 2) for place, grade in enumerate(best)))
    return sum(found) / len(found)


def by_numpy(collection: Collection) -> float:
    """nDCG@10 of exact search over the same vectors."""
    embedder = WordEmbedder()
    vectors = np.stack([embedder.vector(collection.text(number)) for number in range(len(collection.documents))])
    ranked = {}
    for query_id, text, split in collection.queries:
        if split == "test" and query_id in collection.grades:
            order = np.argsort(-(vectors @ embedder.vector(text)), kind="stable")
            ranked[query_id] = [collection.documents[n][0] for n in order]
    return mean_ndcg(collection, ranked)


def by_plain_bm25(collection: Collection, k: float = 1.2, b: float = 0.75) -> float:
    """nDCG@10 of BM25 (Lucene's), as it is written in the textbook: a loop over every document."""
    bags = [Counter(collection.text(number).split()) for number in range(len(collection.documents))]
    average = sum(bag.total() for bag in bags) / len(bags)
    holders = Counter(word for bag in bags for word in bag)
    ranked = {}
    for query_id, text, split in collection.queries:
        if split != "test" or query_id not in collection.grades:
            continue
        scores = []
        for bag in bags:
            score = 0.0
            for word in set(text.split()) & bag.keys():
                idf = math.log(1 + (len(bags) - holders[word] + 0.5) / (holders[word] + 0.5))
                score += idf * bag[word] * (k + 1) / (bag[word] + k * (1 - b + b * bag.total() / average))
            scores.append(score)
        order = sorted(range(len(bags)), key=lambda n: -scores[n])
        ranked[query_id] = [collection.documents[n][0] for n in order if scores[n] > 0]
    return mean_ndcg(collection, ranked)


def evaluate(folder: Path, phases: list[str] | None = None) -> SearchEvaluation:
    def on_progress(phase: str, done: int, total: int) -> None:
        assert 0 < done <= total
        if phases is not None:
            phases.append(phase)

    return evaluate_search(folder, WordEmbedder(), on_progress)


def test_figures_are_those_of_exact_search_and_of_plain_bm25(tmp_path: Path) -> None:
    collection, phases = generated(), list[str]()
    found = evaluate(collection.write(tmp_path / "generated"), phases)
    dense, bm25, hybrid = (found.quality[retriever].ndcg_at_10 for retriever in Retriever)
    assert dense == pytest.approx(by_numpy(collection), abs=0.002)
    assert bm25 == pytest.approx(by_plain_bm25(collection), abs=0.01)
    assert 0.2 < min(dense, bm25) <= max(dense, bm25) < 0.95
    assert hybrid > max(dense, bm25)
    assert (found.default, found.queries_without_text) == ("hybrid", 1)
    assert found.note == "Judged queries skipped, because the test split has no text for them: 1."
    assert set(phases) == {"counting terms", "indexing documents", "asking queries"}
    assert (found.documents, found.queries) == (DOCUMENTS, len(collection.grades) - 1)

    told = found.to_json()
    assert told["dense"].keys() == told["bm25"].keys() == told["hybrid"].keys() == {"ndcg@10", "recall@100"}
    assert told["bm25"]["ndcg@10"] == pytest.approx(bm25, abs=1e-5)
    assert told["latency_ms"].keys() == {"p50", "p95", "p99"}


def test_where_hybrid_is_worse_it_says_so_and_the_better_one_is_the_default(tmp_path: Path) -> None:
    """Each query is a document's own rare word, which the vectors do not know."""
    documents = [(f"d{n}", None, f"t{n % 3}x1 code{n}") for n in range(60)]
    queries = [(f"q{n}", f"t{(n + 1) % 3}x1 code{n}", "test") for n in range(60)]
    folder = Collection(documents, queries, {f"q{n}": {f"d{n}": 1} for n in range(60)}).write(tmp_path / "codes")
    found = evaluate(folder)
    assert found.quality[Retriever.BM25].ndcg_at_10 == 1
    assert found.quality[Retriever.HYBRID].ndcg_at_10 < 0.99
    assert found.default == "bm25"
    assert found.note.startswith("Hybrid is 0.")
    assert found.note.endswith("search it with bm25.")


def test_titles_count_and_a_query_does_not_find_itself(tmp_path: Path) -> None:
    documents = [("1", "pelican", "one"), ("2", None, "pelican"), ("3", "", None), ("4", "heron", "two")]
    found = evaluate(Collection(documents, [("2", "pelican", "test")], {"2": {"1": 1}}).write(tmp_path / "birds"))
    assert {quality.ndcg_at_10 for quality in found.quality.values()} == {1.0}


def test_whole_numbers_are_ids_too(tmp_path: Path) -> None:
    folder = Collection([("7", "pelican", "one")], [("1", "pelican", "test")], {"1": {"7": 1}}).write(tmp_path / "ints")
    for name, column in (("corpus", "doc_id"), ("queries", "query_id")):
        path = folder / f"{name}.parquet"
        pl.read_parquet(path).with_columns(pl.col(column).cast(pl.Int64)).write_parquet(path)
    assert evaluate(folder).quality[Retriever.HYBRID].recall_at_100 == 1


GOOD = Collection([("d1", "a", "b"), ("d2", "c", "d")], [("q1", "b", "test"), ("q2", "x", "train")], {"q1": {"d1": 1}})


def parquet(name: str, **columns: list[object]) -> tuple[str, bytes | None]:
    body = io.BytesIO()
    pl.DataFrame(columns).write_parquet(body)
    return f"{name}.parquet", body.getvalue()


@pytest.mark.parametrize(
    ("file", "sentence"),
    [
        (("corpus.parquet", None), "has no corpus.parquet; expected one with corpus.parquet, queries.parquet and"),
        (("qrels_test.tsv", None), "has no qrels_test.tsv; expected one with"),
        (("corpus.parquet", b"PAR1 no"), "corpus.parquet cannot be read as Parquet: "),
        (
            parquet("corpus", doc_id=["d1"], text=["b"]),
            "corpus.parquet has no column title; expected doc_id, title, te",
        ),
        (parquet("corpus", doc_id=["d1"], title=[1.5], text=["b"]), "corpus.parquet column title has type double; exp"),
        (parquet("corpus", doc_id=[], title=[], text=[]), "corpus.parquet has no rows; expected a document in each."),
        (parquet("corpus", doc_id=["d1", None], title=["a", "a"], text=["b", "c"]), "has a row without doc_id; expect"),
        (parquet("corpus", doc_id=["d1", "d1"], title=["a", "a"], text=["b", "c"]), "has 1 repeated doc_id; expected"),
        (parquet("corpus", doc_id=["d1"], title=["!"], text=["?"]), "corpus.parquet holds no words; expected docume"),
        (parquet("queries", query_id=["q1"], text=["b"]), "queries.parquet has no column split; expected query_id, te"),
        (parquet("queries", query_id=["q1"], text=["b"], split=["dev"]), "judges no query of the test split of querie"),
        (
            parquet("queries", query_id=["q1", "q1"], text=["b", "c"], split=["test", "test"]),
            "has query q1 twice with different texts; expected each id once.",
        ),
        (("qrels_test.tsv", b"q1 d1 1\n"), "qrels_test.tsv line 1 is not query-id, corpus-id and a whole grade, separ"),
        (("qrels_test.tsv", b"q1\td1\tgood\n"), "line 1 is not query-id, corpus-id and a whole grade, separated by t"),
        (("qrels_test.tsv", b"q1\td1\t--1\n"), "qrels_test.tsv line 1 is not query-id, corpus-id and a whole grade"),
        (("qrels_test.tsv", b"q1\td1\t" + b"9" * 5_000), "separated by tabs (a grade has up to six digits)."),
        (("qrels_test.tsv", b"q1\t \t1\n"), "qrels_test.tsv line 1 is not query-id, corpus-id and a whole grade"),
        (("qrels_test.tsv", b"q1\td1\t0\n"), "judges no query of the test split of queries.parquet; expected a grade"),
        (("qrels_test.tsv", b""), "judges no query of the test split of queries.parquet; expected a grade above 0"),
        (("qrels_test.tsv", b"q1\t\xff\t1\n"), "qrels_test.tsv is not UTF-8 text; expected lines of query-id, corpus"),
    ],
)
def test_a_bad_folder_is_one_sentence(tmp_path: Path, file: tuple[str, bytes | None], sentence: str) -> None:
    folder, (name, body) = GOOD.write(tmp_path / "bad"), file
    (folder / name).unlink()
    if body is not None:
        (folder / name).write_bytes(body)
    with pytest.raises(InputError) as raised:
        evaluate(folder)
    assert sentence in str(raised.value)
    assert "\n" not in str(raised.value)


def test_a_column_that_is_there_twice_is_one_sentence(tmp_path: Path) -> None:
    folder = GOOD.write(tmp_path / "twice")
    table = pa.table([["d1"], ["a"], ["b"], ["c"]], names=["doc_id", "title", "text", "text"])
    pq.write_table(table, folder / "corpus.parquet")
    with pytest.raises(InputError, match=r"corpus.parquet has more than one column text; expected each once\.$"):
        evaluate(folder)


def test_a_query_with_nothing_to_find_counts_as_nothing_found(tmp_path: Path) -> None:
    documents, queries = [("d1", None, "pelican"), ("d2", None, "heron")], ["q1", "q2", "q3", "q4"]
    grades = {"q1": {"d1": 1}, "q2": {"d1": 0}, "q3": {"d2": 1, "gone": 1}, "q4": {"d2": -1, "d1": 0}}
    asked = [(query, "pelican" if query == "q1" else "heron", "test") for query in queries]
    found = evaluate(Collection(documents, asked, grades).write(tmp_path / "zero"))
    assert found.queries == 4
    assert found.quality[Retriever.BM25].recall_at_100 == pytest.approx((1 + 0 + 0.5 + 0) / 4)
    assert found.documents_missing == found.to_json()["documents_missing"] == 1
    assert found.note == "Judged documents that the corpus lacks, so never found: 1."


def test_marks_and_blanks_around_ids_are_no_part_of_them(tmp_path: Path) -> None:
    folder = GOOD.write(tmp_path / "blanks")
    for head in (b"", b"query-id\tcorpus-id\tscore\r\n"):
        (folder / "qrels_test.tsv").write_bytes(b"\xef\xbb\xbf" + head + b"q1 \t d1\t1 \r\n")
        collection = open_collection(folder)
        assert (collection.queries, collection.grades) == ({"q1": "b"}, {"q1": {"d1": 1}})


def test_no_folder_is_one_sentence(tmp_path: Path) -> None:
    with pytest.raises(
        InputError, match=r"none is not a folder; expected one with corpus.parquet, queries.parquet and"
    ):
        open_collection(tmp_path / "none")


def test_a_good_folder_s_contents(tmp_path: Path) -> None:
    collection = open_collection(GOOD.write(tmp_path / "good"))
    assert (collection.queries, collection.grades) == ({"q1": "b"}, {"q1": {"d1": 1}})
    assert [(d.doc_id, d.text) for batch in collection.batches() for d in batch] == [("d1", "a b"), ("d2", "c d")]
