"""Edge cases of an erasure: odd files, ids of other types, other accounts' rows, and other owners' objects."""

import io
import json
from collections.abc import Iterable

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from assets.erasure.erase import foreign_objects
from assets.erasure.objects import erase_landed, erase_plans, owned_rows
from assets.stages import TABLES, is_own
from assets.transforms.audience import read_report, without_accounts
from resources.catalogues.audience import LANDING, load_audience_columns
from resources.erasure.delimited import read_delimited
from resources.erasure.scan import Scan
from resources.erasure.terms import CanarySearch, Matches, SearchTerms
from resources.erasure.tombstones import ErasureResource, KeyedHash, Subject
from resources.erasure.values import search_csv, search_json, search_parquet
from resources.s3.client import S3Resource

HASHED = KeyedHash(b"k" * 32)
ID, POST = "acc_0000001", "post_1"
ITEMS = frozenset([HASHED("post", POST), HASHED("post", "7"), HASHED("handle", "its.handle")])
SUBJECT, NUMBER = Subject(ID, HASHED, ITEMS), Subject("42", HASHED, ITEMS)


def matches_of(subject: Subject = SUBJECT) -> Matches:
    terms = SearchTerms(subject)
    return Matches(terms, CanarySearch(terms))


def in_csv(body: bytes, subject: Subject = SUBJECT, key: str = f"{LANDING}a.csv") -> dict[str, int]:
    found = matches_of(subject)
    search_csv(key, body, found)
    return found.by_kind


def in_parquet(rows: pa.Table, subject: Subject = SUBJECT) -> dict[str, int]:
    buffer, found = io.BytesIO(), matches_of(subject)
    pq.write_table(rows, buffer, write_statistics=False)
    search_parquet(pa.BufferReader(buffer.getvalue()), found)
    return found.by_kind


@pytest.mark.parametrize("subject", [SUBJECT, NUMBER])
def test_a_csv_is_looked_through_whatever_is_wrong_with_it(subject: Subject) -> None:
    id_ = subject.account_id
    assert in_csv(f"account_id,,\nx,1,2\n{id_},1,2\n".encode(), subject) == {"account": 1}  # columns without a name
    assert in_csv(f"account_id,n\nx,1,{id_}\n".encode(), subject) == {"account": 1}  # a cell too many
    assert in_csv(f'account_id,n\n"x"y,1\n{id_},2\n'.encode(), subject)["account"] >= 1  # quotes not in order
    assert in_csv(f"account_id,n\nx,{'long' * 50_000}\n{id_},2\n".encode(), subject) == {"account": 1}
    assert in_csv(f"account_id,n\nx,1\n{id_}9,2\n".encode(), subject) == {}


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-be", "cp1252"])
@pytest.mark.parametrize("separator", [",", ";", "\t", "|"])
def test_reports_lose_the_accounts_lines_in_any_form(s3: S3Resource, encoding: str, separator: str) -> None:
    mark = "\ufeff" if encoding == "utf-16-be" else ""
    rows = ["Creator ID,Genre é,share", 'other,"a ""b""\nc",1', "42 ,f,2", "o2,f,3,42", "o3,f,4"]
    ending = "\r\n"
    body = (mark + ending.join(row.replace(",", separator) for row in rows)).encode(encoding)
    key = f"{LANDING}report.txt"  # the audience stage goes by the folder
    assert in_csv(body, NUMBER, key) == {"account": 2}
    s3.put(key, body)
    assert erase_landed(s3, NUMBER, [key])[LANDING.rstrip("/")]["rows"] == 2
    left = [row.replace(",", separator) for row in (rows[0], rows[1], rows[4])]
    assert s3.get(key) == (mark + ending.join(left)).encode(encoding)
    s3.delete([key])


def test_a_declared_separator_and_a_file_of_the_account_alone(s3: S3Resource) -> None:
    text = read_delimited("a.csv", b"sep=|\naccount_id|x,y\n1|2\n")
    assert (text.separator, text.names, text.encoded([])) == ("|", ("account_id", "x,y"), b"sep=|\naccount_id|x,y\n")
    s3.put(f"{LANDING}a.csv", f"account_id,x\n{ID},1\n".encode())
    erase_landed(s3, SUBJECT, [f"{LANDING}a.csv"])
    assert s3.get(f"{LANDING}a.csv") is None


def test_another_accounts_rows_stay_whatever_they_name() -> None:
    rows = pa.table({"account_id": [ID, "other", None, " ", "other"], "post_id": ["x", POST, POST, POST, "x"]})
    assert owned_rows(rows, SUBJECT).tolist() == [True, True, True, True, False], (
        "a post of its own was another's before"
    )
    handles = pa.table({"account_id": ["other", None], "handle": ["its.handle"] * 2})
    assert owned_rows(handles, SUBJECT).tolist() == [False, True]
    texts = [json.dumps({"account_id": owner, "post_id": POST}) for owner in ("other", None, ID)]
    rejects = pa.table({"source_table": ["posts"] * 3, "row_key": [POST] * 3, "row_json": texts})
    assert owned_rows(rejects, SUBJECT).tolist() == [True, True, True]


def test_rejected_lines_of_a_report_are_the_accounts_by_any_cell() -> None:
    cells = [json.dumps(["x", f" {ID}"]), json.dumps(["x", f"{ID}2"])]
    texts = [json.dumps({"line": 2, "account_id": None, "cells": one}) for one in cells]
    assert owned_rows(pa.table({"row_json": texts}), SUBJECT).tolist() == [True, False]


def test_ids_of_any_type_are_ids() -> None:
    numbers = pa.array([42, 7, None])
    assert owned_rows(pa.table({"account_id": numbers}), NUMBER).tolist() == [True, False, False]
    assert owned_rows(pa.table({"post_id": numbers}), NUMBER).tolist() == [False, True, False]
    named = pa.array(["42", "x", "42"])
    for column in (named.dictionary_encode(), named.cast(pa.large_string()), named.cast(pa.binary())):
        assert owned_rows(pa.table({"account_id": column}), NUMBER).tolist() == [True, False, True]
    kinds = pa.table({"item_id": numbers, "item_kind": pa.array(["post", "post", None]).dictionary_encode()})
    assert owned_rows(kinds, NUMBER).tolist() == [False, True, False]
    documents = pa.table({"row_json": ['{"account_id": 42}', '{"": "x", "post_id": 7}', '{"n": 42}']})
    assert owned_rows(documents, NUMBER).tolist() == [True, True, False]


def test_ids_of_any_type_are_seen() -> None:
    assert in_parquet(pa.table({"account_id": [42, 1], "likes": [42, 42]}), NUMBER) == {"account": 1}
    assert in_parquet(pa.table({"post_ids": [[1, 7], [2]]}), NUMBER) == {"post": 1}
    assert in_parquet(pa.table({"item_id": [42, 7], "item_kind": ["post", "post"]}), NUMBER) == {"post": 1}
    found = matches_of(NUMBER)
    search_json(b'{"": "x", "account_id": 42, "likes": 42, "min": {"post_id": 7}, "has_account": true}', found)
    assert found.by_kind == {"account": 1, "post": 1}


class Erased:
    """Tombstones of one account."""

    def __bool__(self) -> bool:
        return True

    def accounts_among(self, ids: Iterable[str]) -> set[str]:
        return {ID} & set(ids)


def test_a_report_says_nothing_of_an_erased_account() -> None:
    lines = ["account_id,country_de", f"{ID},1", f"{ID},nothing", f"x,1,{ID}", "other,2", "other,nothing", "x,1,2"]
    report = read_report("report-2026-03-01.csv", "\n".join(lines).encode(), load_audience_columns())
    assert (report.rows.height, report.rejects.height) == (2, 4)
    left = without_accounts(report, Erased())
    assert left.rows["account_id"].to_list() == ["other"]
    assert left.rejects["line"].to_list() == [6, 7]


@pytest.mark.parametrize("encoding", ["utf-8", "utf-16", "utf-16-le", "utf-16-be"])
@pytest.mark.parametrize(
    "text",
    [
        "sep=\t\naccount_id\tfemale\n42\t1\n7\t2\n",
        '"sep=;"\r\naccount_id;female\r\n42;1\r\n7;2\r\n',
        "sep = ;\raccount_id;female\r'42;1\r7;2\r",
        "sep=;\naccount_id,female\n42,1\n7,2\n",
        'account_id,female\n"=""42""",1\n\'7,2\n',
        "account_id,female\n'42,1,\n7,2\n",
        "\ufeff\ufeffaccount_id,female\n42,1\n7,2\n",
        "\ufeff\ufeff\r\nsep=;\r\naccount_id;female\r\n42;1\r\n7;2\r\n",
    ],
)
def test_a_report_that_the_stage_reads_is_searched_and_divided_alike(text: str, encoding: str) -> None:
    """An account that reading finds must not stay behind, in whatever form its id is written."""
    body = text.encode(encoding)
    report = read_report("report-2026-03-01.csv", body, load_audience_columns())
    assert sorted(report.rows["account_id"]) == ["42", "7"]
    found = read_delimited(f"{LANDING}a.csv", body)
    kept = [lines for lines, cells in found.rows() if cells[found.names.index("account_id")] != "42"]
    left = read_report("report-2026-03-01.csv", found.encoded(kept), load_audience_columns())
    assert left.rows["account_id"].to_list() == ["7"]
    assert in_csv(body, NUMBER).keys() == {"account"}


def test_a_second_byte_order_mark_hides_no_label() -> None:
    body = b"\xef\xbb\xbf\xef\xbb\xbfitem_kind,item_id,vertical,is_member\naccount,42,food,yes\n"
    found = read_delimited("landing/labels/l.csv", body)
    assert found.names == ("item_kind", "item_id", "vertical", "is_member")
    assert found.encoded([found.body]) == body


def test_what_a_tombstone_names_and_another_has_now_is_that_ones(s3: S3Resource) -> None:
    erasures = ErasureResource(s3=s3, key="k" * 32)
    erasures.begin(erasures.subject(ID, [("post", POST), ("post", "moved")]))
    subject = erasures.subject(ID, (), [("post", "moved"), ("testimonial", POST)])
    assert [subject.owns(("post",), post) for post in (POST, "moved")] == [True, False]


def test_plans_go_where_their_window_is_whole(s3: S3Resource) -> None:
    folder = "raw/posts/source=postgres"
    plan = {"ranges": [{"lower": None, "upper": POST}]}
    for number in (1, 2):
        s3.put_json(f"{folder}/window={number:012d}/plan-a/plan.json", plan)
        s3.put_json(f"{folder}/window={number:012d}/plan-a/done-000000.json", {"files": []})
    s3.put_json(f"{folder}/manifests/{1:012d}.json", {})
    found = matches_of()
    search_json(json.dumps(plan).encode(), found)
    assert found.by_kind == {"post": 1}
    assert erase_plans(s3, ["posts"]) == 2
    assert {item.key.split("/")[3] for item in s3.list_objects(f"{folder}/window")} == {f"window={2:012d}"}


def test_what_others_keep_in_the_bucket_is_told_apart(s3: S3Resource) -> None:
    for key in ("exports/e1/a.json", "mart/foreign/_delta_log/0.json", "raw/a.json"):
        s3.put_json(key, {"account_id": ID})
    found = Scan(s3=s3).run(SearchTerms(SUBJECT), is_own)
    assert set(found.places) == {"raw/a.json"}
    keys = ("exports/e1/a.json", "mart/foreign/_delta_log/0.json")
    assert found.foreign == dict.fromkeys(keys, "names the account")
    assert all(is_own(f"{spec.name}/x") for spec in TABLES)
    assert {"audience/reports", "lake/posts"} <= {spec.name for spec in TABLES}


def test_a_large_object_of_others_is_looked_at_in_windows(s3: S3Resource, monkeypatch: pytest.MonkeyPatch) -> None:
    """The id spans two windows, and the whole object is never fetched."""
    at = (8 << 20) - len(ID) // 2
    padding = b"\n" * (17 << 20)
    for name, text in (("dump.bin", ID), ("rows.jsonl", ID), ("rows.csv", ID), ("other.bin", f"{ID}2")):
        s3.put(f"exports/{name}", padding[:at] + text.encode() + padding[at:])
    whole = S3Resource.get

    def small(self: S3Resource, key: str, etag: str = "") -> bytes | None:
        assert not key.startswith("exports/"), "a 60 GB backup does not fit into memory"
        return whole(self, key, etag)

    monkeypatch.setattr(S3Resource, "get", small)
    found = Scan(s3=s3).run(SearchTerms(SUBJECT), is_own)
    assert found.foreign == {f"exports/{name}": "names the account" for name in ("dump.bin", "rows.jsonl", "rows.csv")}


def test_what_others_keep_and_nothing_reads_is_listed_with_the_reason(
    s3: S3Resource, monkeypatch: pytest.MonkeyPatch
) -> None:
    s3.put("exports/deep.json", b"[" * 100_000)
    s3.put("exports/odd.parquet", b"PAR1")
    s3.put("exports/clean.json", b"{}")

    def odd(*_: object, **__: object) -> None:
        message = f"Nested data conversions not implemented, {ID}"
        raise pa.ArrowNotImplementedError(message)

    monkeypatch.setattr(pq, "read_metadata", odd)
    found = Scan(s3=s3).run(SearchTerms(SUBJECT), is_own)
    assert found.foreign == {"exports/odd.parquet": "cannot be read: ArrowNotImplementedError"}
    [note] = foreign_objects(found)
    assert note.endswith("exports (cannot be read: ArrowNotImplementedError).")
