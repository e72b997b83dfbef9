"""The scan finds an account in every stored format, tells ids from longer ones, and holds little in memory."""

import io
import json
import os
import uuid
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from assets.erasure.objects import owned_rows
from assets.erasure.points import every_point
from resources.erasure.scan import Findings, Scan
from resources.erasure.terms import CanarySearch, Matches, SearchTerms
from resources.erasure.tombstones import KeyedHash, Subject
from resources.s3.client import S3Resource
from resources.vectors.edge.generations import EdgeGenerations
from resources.vectors.generations import IndexConfig
from resources.vectors.values import IndexPoint, SparseVector

HASHED = KeyedHash(b"k" * 32)
ID, POST, CANARY = "acc_0000001", "post_1", "a canary, “quoted”"
SUBJECT = Subject(ID, HASHED, frozenset([HASHED("post", POST), HASHED("handle", "its.handle")]))
TERMS = SearchTerms(SUBJECT, (CANARY, "canary-1", "canary-10"))


def scan(s3: S3Resource, terms: SearchTerms = TERMS, **folders: Path) -> Findings:
    return Scan(s3=s3, folders=folders).run(terms)


def found(s3: S3Resource, key: str, body: bytes, terms: SearchTerms = TERMS) -> dict[str, int]:
    s3.put(key, body)
    seen = dict(scan(s3, terms).places.get(key, {}))
    s3.delete([key])
    return seen


def parquet(rows: object, **settings: object) -> bytes:
    buffer = io.BytesIO()
    pq.write_table(rows if isinstance(rows, pa.Table) else pa.table(rows), buffer, compression="zstd", **settings)
    return buffer.getvalue()


def test_parquet_columns_lists_structs_and_maps(s3: S3Resource) -> None:
    no_statistics = {"write_statistics": False}
    assert found(s3, "a.parquet", parquet({"account_id": ["x", ID, f"{ID}2"]}, **no_statistics)) == {"account": 1}
    assert found(s3, "a.parquet", parquet({"post_ids": [["x"], [POST, "y"]]}, **no_statistics)) == {"post": 1}
    assert found(s3, "a.parquet", parquet({"s": [{"t": [{"post_id": POST}]}]}, **no_statistics)) == {"post": 1}
    maps = pa.table({"m": pa.array([[("k", f"..{CANARY}..")]], pa.map_(pa.string(), pa.string()))})
    assert found(s3, "a.parquet", parquet(maps, **no_statistics)) == {"canary": 1}
    assert found(s3, "a.parquet", parquet({"text": [b"..canary-1.."]}, **no_statistics)) == {"canary": 1}
    assert found(s3, "a.parquet", parquet({"account_id": ["x"], "likes": [1]})) == {}


def test_parquet_statistics_dictionaries_and_footer(s3: S3Resource) -> None:
    assert found(s3, "a.parquet", parquet({"account_id": [ID]})) == {
        "account": 2
    }  # the value, and as smallest = largest
    unused = pa.DictionaryArray.from_arrays(pa.array([0, 0], pa.int8()), pa.array(["x", f"of {CANARY}"]))
    assert found(s3, "a.parquet", parquet({"text": unused})) == {"canary": 1}
    noted = pa.table({"n": [1]}).replace_schema_metadata({"note": f"made for {ID}"})
    assert found(s3, "a.parquet", parquet(noted))["account"] >= 1


def test_several_row_groups_and_a_large_object(s3: S3Resource, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("resources.erasure.scan._LARGEST_WHOLE_BYTES", 0)
    rows = {"account_id": [ID if n == 2_500 else f"other-{n}" for n in range(3_000)], "vector": [[0.5] * 8] * 3_000}
    assert found(s3, "a.parquet", parquet(rows, row_group_size=1_000, write_statistics=False)) == {"account": 1}


def test_delta_log_statistics_predicates_and_nested_json(s3: S3Resource) -> None:
    stats = json.dumps({"minValues": {"account_id": "a"}, "maxValues": {"account_id": ID, "post_id": POST}})
    commit = {"commitInfo": {"operationParameters": {"predicate": f"bucket = 1 AND target.post_id IN ('x','{POST}')"}}}
    lines = "\n".join(json.dumps(line) for line in ({"add": {"path": "f", "stats": stats}}, commit))
    assert found(s3, "t/_delta_log/0.json", lines.encode()) == {"account": 1, "post": 2}
    deleted = json.dumps({"commitInfo": {"predicate": f"account_id = '{ID}'"}})
    assert found(s3, "t/_delta_log/0.json", deleted.encode()) == {"account": 1}
    assert found(s3, "t/_delta_log/0.json", deleted.replace(ID, f"{ID}2").encode()) == {}
    checkpoint = parquet({"add": [{"path": "f", "stats": stats}]}, write_statistics=False)
    assert found(s3, "t/_delta_log/0.checkpoint.parquet", checkpoint) == {"account": 1, "post": 1}


def test_words_about_a_table_are_not_the_account(s3: S3Resource) -> None:
    """An account may have a word as its id that describes a table, such as `followers`."""
    column = {"name": "bio", "type": "string", "nullable": True, "metadata": {"comment": f"What {ID}'s people say."}}
    schema = json.dumps({"type": "struct", "fields": [column]})
    about = {"id": "1", "description": f"One row per {ID}.", "schemaString": schema}
    assert found(s3, "t/_delta_log/0.json", json.dumps({"metaData": about}).encode()) == {}
    assert found(s3, "t/_delta_log/0.checkpoint.parquet", parquet({"metaData": [about]}, write_statistics=False)) == {}
    planted = json.dumps({"metaData": {**about, "description": CANARY}}, ensure_ascii=False)
    assert found(s3, "t/_delta_log/0.json", planted.encode()) == {"canary": 1}


def test_json_csv_and_rejected_rows(s3: S3Resource) -> None:
    assert found(s3, "a.json", json.dumps({"x": [{"post_id": POST}, {"text": CANARY}]}).encode()) == {
        "canary": 1,
        "post": 1,
    }
    csv = f'account_id;text\r\n{ID};"many\r\nlines"\r\nother;{CANARY}\r\n'.encode()
    assert found(s3, "a.csv", csv) == {"account": 1, "canary": 1}
    reject = {"source_table": ["posts"], "row_key": ["x"], "row_json": [json.dumps({"post_id": "x", "account_id": ID})]}
    assert found(s3, "a.parquet", parquet(reject, write_statistics=False)) == {"account": 1}


def test_others_who_speak_of_the_account_are_not_the_account(s3: S3Resource, tmp_path: Path) -> None:
    said = f"I like {ID}"
    tagged = {"account_id": ["other"], "hashtags": [[ID, "fun"]], "brand": [ID], "campaign": [ID]}
    assert found(s3, "tagged.parquet", parquet(tagged)) == {}
    assert found(s3, "tagged.json", json.dumps({"account_id": "other", "hashtags": [ID]}).encode()) == {}
    assert found(s3, "a.parquet", parquet({"account_id": ["other"], "text": [said]})) == {}
    assert found(s3, "a.json", json.dumps({"account_id": "other", "text": said}).encode()) == {}
    assert found(s3, "a.csv", f"account_id,text\nother,{said}\n".encode()) == {}
    write_points(tmp_path, [{"account_id": "other", "post_id": "p", "text": said}])
    assert scan_index(s3, tmp_path).places == {}


def test_ids_that_are_numbers_are_found_by_column_alone(s3: S3Resource) -> None:
    """Account 42 is erased with its post 7; post 42 and account 7 are others'."""
    terms = SearchTerms(Subject("42", HASHED, frozenset([HASHED("post", "7")])))
    rows = {"account_id": ["7", "42"], "post_id": ["42", "7"], "likes": ["42", "7"]}
    assert found(s3, "a.parquet", parquet(rows, write_statistics=False), terms) == {"account": 1, "post": 1}
    labels = pa.table({"item_kind": ["post", "account"], "item_id": ["42", "7"]})
    assert found(s3, "a.parquet", parquet(labels), terms) == {}
    assert not owned_rows(labels, terms.subject).any()
    own = pa.table({"item_kind": ["post", "account", None], "item_id": ["7", "42", "42"]})
    assert owned_rows(own, terms.subject).all()
    assert found(s3, "a.parquet", parquet(own), terms) == {"account": 2, "post": 1}


def test_large_strings_and_rejects_are_owned_too() -> None:
    rows = pl.DataFrame({"account_id": ["other", ID]}).to_arrow()
    assert owned_rows(rows, SUBJECT).tolist() == [False, True]
    texts = [json.dumps({"item_kind": "post", "item_id": POST}), json.dumps({"item_kind": "account", "item_id": POST})]
    assert owned_rows(pa.table({"row_json": [*texts, "no json", None]}), SUBJECT).tolist() == [
        True,
        False,
        False,
        False,
    ]


def test_canaries_that_begin_alike_are_told_apart(s3: S3Resource) -> None:
    s3.put("a.json", json.dumps({"text": "canary-10"}).encode())
    assert scan(s3).canaries == {"canary-1", "canary-10"}
    s3.put("a.json", json.dumps({"text": "canary-1x"}).encode())
    assert scan(s3).canaries == {"canary-1"}


def test_what_is_not_what_its_name_says_is_looked_at_as_bytes(s3: S3Resource) -> None:
    assert found(s3, "landing/a.parquet", f"no Parquet, but {ID}!".encode()) == {"account": 1}
    assert found(s3, "landing/a.json", f"{{ broken {CANARY}".encode()) == {"canary": 1}
    assert found(s3, "landing/a.xlsx", f"x{ID}".encode()) == {}


def test_files_and_what_lies_across_two_chunks(s3: S3Resource, tmp_path: Path) -> None:
    (tmp_path / "logs").mkdir()
    (tmp_path / "source").mkdir()
    text = f"{ID} {CANARY}".encode()
    (tmp_path / "logs" / "big.log").write_bytes(os.urandom((8 << 20) - 20).replace(b"a", b"b") + b" " + text)
    (tmp_path / "source" / "rows").write_bytes(text)
    (tmp_path / "logs" / "link").symlink_to(tmp_path / "source" / "rows")
    found = Scan(s3=s3, folders={"home": tmp_path}, left_out=frozenset([tmp_path / "source"])).run(TERMS)
    assert set(found.places) == {"home/logs/big.log"}
    assert found.places["home/logs/big.log"].keys() == {"account", "canary"}
    assert found.canaries == {CANARY}


def write_points(folder: Path, payloads: list[dict[str, str]]) -> None:
    """Points in an Edge generation, the last of which is deleted again."""
    with EdgeGenerations.lock(folder, 5) as generations:
        index = generations.open(generations.create(IndexConfig("model", 4, "sparse")))
        ids = [str(uuid.uuid5(uuid.NAMESPACE_OID, str(number))) for number in range(len(payloads))]
        sparse = SparseVector.of([1], [1.0])
        index.upsert(
            IndexPoint(id_, np.ones(4, np.float32), sparse, payload) for id_, payload in zip(ids, payloads, strict=True)
        )
        index.delete(ids[1:])


def scan_index(s3: S3Resource, folder: Path) -> Findings:
    """Scan an Edge index: its files, and its points through the engine."""

    def points() -> Iterator[tuple[str, IndexPoint]]:
        with EdgeGenerations.lock(folder, 5) as generations:
            yield from every_point(generations)

    return Scan(s3=s3, folders={"index": folder}, engines=frozenset([folder]), points=points).run(TERMS)


def test_edge_points_and_the_log_of_deleted_points(s3: S3Resource, tmp_path: Path) -> None:
    own = {"account_id": ID, "post_id": POST, "text": f"{CANARY} {'again and again ' * 40}"}
    other = {"account_id": "other", "post_id": "x", "text": "y"}
    write_points(tmp_path / "stored", [own])
    found = scan_index(s3, tmp_path / "stored")
    assert found.places["qdrant/cippus_text_v1"] == {"account": 1, "canary": 1, "post": 1}
    assert found.canaries == {CANARY}
    write_points(tmp_path / "deleted", [other, own])
    found = scan_index(s3, tmp_path / "deleted")
    assert "qdrant/cippus_text_v1" not in found.places
    [log] = [place for place in found.places if "/wal/" in place]
    assert found.places[log].keys() == {"canary"}


@pytest.mark.parametrize("depth", [2_500, 100_000])
def test_json_nested_too_deep_is_text(s3: S3Resource, depth: int) -> None:
    nested = f"{'[' * depth}{']' * depth}"
    assert found(s3, "a.json", json.dumps({"account_id": ID, "note": nested}).encode()) == {"account": 1}
    assert found(s3, "a.json", f'{{"account_id": {nested}, "note": "{ID}"}}'.encode()) == {"account": 1}
    rows = pa.table({"row_json": [json.dumps({"account_id": ID, "note": nested}), nested]})
    assert owned_rows(rows, SUBJECT).tolist() == [True, False]
    assert found(s3, "a.parquet", parquet(rows, write_statistics=False)) == {"account": 1}


def test_parquet_nested_too_deep_is_bytes(s3: S3Resource) -> None:
    values = pa.array([CANARY])
    for _ in range(200):
        values = pa.StructArray.from_arrays([values], ["f"])
    body = parquet(pa.table({"x": values}), use_dictionary=False, write_statistics=False)
    assert found(s3, "landing/labels/a.parquet", body) == {"canary": 1}


def test_json_in_json_is_searched_at_every_level(s3: S3Resource) -> None:
    text = json.dumps({"account_id": ID})
    for _ in range(12):
        text = json.dumps([text])
    assert found(s3, "a.json", text.encode()) == {"account": 1}


def test_little_text_is_buffered() -> None:
    search = CanarySearch(TERMS)
    matches, other = Matches(TERMS, search), Matches(TERMS, search)
    for _ in range(50):
        matches.search_texts(["x" * 1_000_000])
        assert search.buffered <= 33 << 20
    matches.search_texts(["a", None, CANARY])
    other.search_texts(["canary-", "1"])
    search.flush()
    assert (matches.by_kind, other.by_kind) == ({"canary": 1}, {})
