"""The scan sees what is stored in every form, tells ids apart from longer ones, and holds little in memory."""

import io
import json
import os
import uuid
from pathlib import Path

import numpy as np
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from assets.erasure.objects import owned_rows
from resources.erasure.scan import Findings, Scan
from resources.erasure.terms import CanarySearch, Needles, Sightings
from resources.erasure.tombstones import KeyedHash, Subject
from resources.s3.client import S3Resource
from resources.vectors.edge.files import lz4_block, stored_payloads
from resources.vectors.edge.generations import EdgeGenerations
from resources.vectors.generations import IndexConfig
from resources.vectors.values import IndexPoint, SparseVector

HASHED = KeyedHash(b"k" * 32)
ID, POST, CANARY = "acc_0000001", "post_1", "a canary, “quoted”"
SUBJECT = Subject(ID, HASHED, frozenset([HASHED("post", POST), HASHED("handle", "its.handle")]))
NEEDLES = Needles(SUBJECT, (CANARY, "canary-1", "canary-10"))


def scan(s3: S3Resource, needles: Needles = NEEDLES, **folders: Path) -> Findings:
    return Scan(s3=s3, folders=folders).run(needles)


def found(s3: S3Resource, key: str, body: bytes, needles: Needles = NEEDLES) -> dict[str, int]:
    s3.put(key, body)
    seen = dict(scan(s3, needles).places.get(key, {}))
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
    monkeypatch.setattr("resources.erasure.scan._WHOLE_BYTES", 0)
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
    assert scan(s3, index=tmp_path).places == {}


def test_ids_that_are_numbers_are_found_by_column_alone(s3: S3Resource) -> None:
    """Account 42 is erased with its post 7; post 42 and account 7 are others'."""
    needles = Needles(Subject("42", HASHED, frozenset([HASHED("post", "7")])))
    rows = {"account_id": ["7", "42"], "post_id": ["42", "7"], "likes": ["42", "7"]}
    assert found(s3, "a.parquet", parquet(rows, write_statistics=False), needles) == {"account": 1, "post": 1}
    labels = pa.table({"item_kind": ["post", "account"], "item_id": ["42", "7"]})
    assert found(s3, "a.parquet", parquet(labels), needles) == {}
    assert not owned_rows(labels, needles.subject).any()
    own = pa.table({"item_kind": ["post", "account", None], "item_id": ["7", "42", "42"]})
    assert owned_rows(own, needles.subject).all()
    assert found(s3, "a.parquet", parquet(own), needles) == {"account": 2, "post": 1}


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
    found = Scan(s3=s3, folders={"home": tmp_path}, left_out=frozenset([tmp_path / "source"])).run(NEEDLES)
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


def test_edge_log_segments_and_deleted_points(s3: S3Resource, tmp_path: Path) -> None:
    text = f"{CANARY} {'again and again ' * 40}"  # which LZ4 compresses
    write_points(
        tmp_path,
        [{"account_id": "other", "post_id": "x", "text": "y"}, {"account_id": ID, "post_id": POST, "text": text}],
    )
    found = scan(s3, index=tmp_path)
    log = next(place for place in found.places if "/wal/" in place)
    page = next(place for place in found.places if "/payload_storage/page" in place)
    for place in (log, page):
        assert found.places[place].keys() == {"account", "post", "canary"}, place
    assert found.canaries == {CANARY}


@given(st.binary(max_size=3_000) | st.text(alphabet="ab", max_size=3_000).map(str.encode), st.binary(max_size=40))
def test_lz4_blocks_are_decoded_without_their_length(data: bytes, behind: bytes) -> None:
    block = pa.compress(data, codec="lz4_raw", asbytes=True)
    if data:
        assert lz4_block(block + behind, 0, len(data)) == (data, len(block))


@given(st.lists(st.binary(min_size=1, max_size=600), max_size=6), st.binary(max_size=128))
def test_payloads_are_found_block_by_block_and_damage_is_passed_over(payloads: list[bytes], damage: bytes) -> None:
    page = damage.ljust(128, b"\xff") if damage else b""
    for payload in payloads:
        body = len(payload).to_bytes(4, "little") + pa.compress(payload, codec="lz4_raw", asbytes=True)
        page += body + bytes(-len(body) % 128)
    found = list(stored_payloads(page + bytes(256)))
    assert found[-len(payloads) :] == payloads if payloads else True


def test_sightings_hold_little_text() -> None:
    search = CanarySearch(NEEDLES)
    seen, other = Sightings(NEEDLES, search), Sightings(NEEDLES, search)
    for _ in range(50):
        seen.texts(["x" * 1_000_000])
        assert search.held <= 33 << 20
    seen.texts(["a", None, CANARY])
    other.texts(["canary-", "1"])
    search.flush()
    assert (seen.seen, other.seen) == ({"canary": 1}, {})
