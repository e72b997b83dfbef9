"""The scan finds an account behind links, in packed files, and however its id is written, or says what it left."""

import bz2
import gzip
import io
import json
import lzma
import os
import sqlite3
import tarfile
import zipfile
import zlib
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from urllib.parse import quote

import pyarrow as pa
import pytest
from pydantic import PrivateAttr

from resources.erasure import packed
from resources.erasure.scan import Findings, Scan
from resources.erasure.terms import SearchTerms
from resources.erasure.tombstones import KeyedHash, Subject
from resources.s3.client import S3Object, S3Resource

ID, CANARY = "café-créateur", "a “quoted” canary"
TERMS = SearchTerms(Subject(ID, KeyedHash(b"k" * 32)), (CANARY,))
WORDS = json.dumps({"text": f"\n{ID}\n{CANARY}"})


class Bucket(S3Resource):
    """Objects in memory: their listing and their bodies, which is all that a scan reads."""

    _bodies: dict[str, bytes] = PrivateAttr(default_factory=dict)

    @classmethod
    def of(cls, bodies: dict[str, bytes]) -> "Bucket":
        bucket = cls(bucket="memory")
        bucket._bodies = bodies
        return bucket

    def list_objects(self, prefix: str) -> "list[S3Object]":  # type: ignore[override]
        return [S3Object(key, len(body), "") for key, body in self._bodies.items() if key.startswith(prefix)]

    def get(self, key: str, etag: str = "") -> bytes | None:
        return self._bodies.get(key)


def scan(
    folder: Path | None = None, *, left_out: Path | None = None, engine: Path | None = None, **bodies: bytes
) -> Findings:
    return Scan(
        s3=Bucket.of({key.replace("__", "/"): body for key, body in bodies.items()}),
        folders={"home": folder} if folder else {},
        left_out=frozenset([left_out] if left_out else ()),
        engines=frozenset([engine] if engine else ()),
    ).run(TERMS)


def _zipped(body: bytes) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("rows.csv", body)
    return buffer.getvalue()


def _tarred(body: bytes) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        member = tarfile.TarInfo("rows.csv.gz")
        inner = gzip.compress(body)
        member.size = len(inner)
        archive.addfile(member, io.BytesIO(inner))
    return buffer.getvalue()


PACKED: dict[str, Callable[[bytes], bytes]] = {
    "gzip": gzip.compress,
    "two members of gzip": lambda body: gzip.compress(body[:90]) + gzip.compress(body[90:]),
    "bzip2": bz2.compress,
    "xz": lzma.compress,
    "zstandard": lambda body: pa.compress(body, "zstd", asbytes=True),
    "zip, as spreadsheets are": _zipped,
    "tar with gzip inside": _tarred,
    "gzip in zip in gzip": lambda body: gzip.compress(_zipped(gzip.compress(body))),
}


@pytest.mark.parametrize("kind", PACKED)
def test_what_is_packed_is_searched_in_objects_and_in_files(kind: str, tmp_path: Path) -> None:
    body = PACKED[kind](f"{'x' * 100}\naccount_id,text\n{ID},{CANARY}\n".encode())
    (tmp_path / "a.log").write_bytes(body)
    found = scan(tmp_path, landing__a=body)
    assert {place: kinds.keys() for place, kinds in found.places.items()} == {
        "landing/a": {"account", "canary"},
        "home/a.log": {"account", "canary"},
    }
    assert not found.unsearched


def test_the_format_of_a_packed_file_is_that_of_its_own_name() -> None:
    """A short id is an id only where a column says so."""
    terms = SearchTerms(Subject("42", KeyedHash(b"k" * 32)))
    bodies = {"a.csv.gz": gzip.compress(b"account_id,n\n42,1\n"), "b.csv.gz": gzip.compress(b"account_id,n\n7,42\n")}
    found = Scan(s3=Bucket.of(bodies)).run(terms)
    assert found.places == {"a.csv.gz": {"account": 1}}


def test_what_cannot_be_opened_is_named_with_the_reason(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(packed, "_Budget", lambda: packed_budget(1 << 20))
    deep = b"text"
    for _ in range(6):
        deep = gzip.compress(deep)
    bodies = {
        "a.7z": b"7z\xbc\xaf\x27\x1c" + bytes(50),
        "b.gpg": b"-----BEGIN PGP MESSAGE-----\n",
        "c.gz": gzip.compress(os.urandom(5_000))[:-2_000],
        "d.gz": gzip.compress(bytes(2 << 20)),
        "e.gz": deep,
        "f.txt": b"text",
    }
    found = Scan(s3=Bucket.of(bodies)).run(TERMS)
    assert found.unsearched == {
        "a.7z": "it is a 7z archive, which cannot be opened",
        "b.gpg": "it is encrypted with PGP, which cannot be opened",
        "c.gz": "it cannot be unpacked to its end (EOFError)",
        "d.gz": "it unpacks to more than 8 GiB",
        "e.gz": "it is packed more than 4 times",
    }
    assert not found.places
    assert found.to_json()["unsearched"] == 5


packed_budget = packed._Budget


@pytest.mark.parametrize(
    "written",
    [
        ID.encode(),
        json.dumps(ID).encode(),
        json.dumps(ID).replace("\\u00e9", "\\u00E9").encode(),
        json.dumps(json.dumps(f"\n{ID}\n")).encode(),
        quote(f"a/{ID}/b", safe="").encode(),
        repr(ID.encode()).encode(),
        f"\ufeff{ID} and more".encode("utf-16-le"),
        f"{ID} and more".encode("utf-16-be"),
        ID.encode("cp1252"),
    ],
)
def test_an_id_is_found_however_it_is_written_and_no_longer_one_is(written: bytes) -> None:
    assert scan(a=b"= " + written if written.startswith(b"b'") else written).places["a"].keys() == {"account"}
    longer = written.replace(b"caf", b"Xcaf").replace(b"c\0a\0", b"X\0c\0a\0").replace(b"\0c\0a", b"\0X\0c\0a")
    assert not scan(a=longer).places


@pytest.mark.parametrize("text", ["a “quoted” canary", 'a "plain" one', "C:\\folder", "l’été, 🎈 twice"])
def test_a_canary_is_found_as_json_writes_it(text: str) -> None:
    terms = SearchTerms(TERMS.subject, (text,))
    bodies = {
        "plain.log": text.encode(),
        "once.log": json.dumps({"x": text}).encode(),
        "twice.log": json.dumps(json.dumps({"x": text})).encode(),
        "utf8.log": json.dumps({"x": text}, ensure_ascii=False).encode(),
    }
    found = Scan(s3=Bucket.of(bodies)).run(terms)
    assert found.places.keys() == bodies.keys()


def test_links_are_followed_once_and_never_into_what_is_left_out(tmp_path: Path) -> None:
    home, elsewhere, database = (tmp_path / name for name in ("home", "elsewhere", "database"))
    for folder in (home, elsewhere / "deep", database):
        folder.mkdir(parents=True)
    for path in (elsewhere / "deep" / "rows.log", database / "rows.log", home / "own.log"):
        path.write_text(ID)
    (home / "qdrant").symlink_to(elsewhere)
    (home / "file.log").symlink_to(elsewhere / "deep" / "rows.log")
    (home / "postgres").symlink_to(database)
    (home / "row.log").symlink_to(database / "rows.log")
    (elsewhere / "round").symlink_to(home)
    (home / "dangling").symlink_to(tmp_path / "nowhere")
    found = scan(home, left_out=home / "postgres")
    assert set(found.places) == {"home/own.log", "home/file.log", "home/qdrant/deep/rows.log"}


@pytest.mark.parametrize("name", ["wal", "segments", "volume.dat"])
def test_only_the_engines_own_files_may_speak_of_the_account(name: str, tmp_path: Path) -> None:
    """A home may lie below a folder of such a name, and may hold another one."""
    home = tmp_path / name / "home"
    for folder in (home / "logs" / name, home / "qdrant" / name):
        folder.mkdir(parents=True)
        (folder / "file.dat").write_text(f"I like {ID}")
    assert set(scan(home, engine=home / "qdrant").places) == {f"home/logs/{name}/file.dat"}


def test_values_of_dagsters_databases_are_searched_whole(tmp_path: Path) -> None:
    """A long event lies in pages with other pages between them, and snapshots are compressed."""
    path = tmp_path / "runs.db"
    event = json.dumps({"preview": f"{'x' * 4_050} {ID} {CANARY}{'y' * 9_000}"})
    with closing(sqlite3.connect(path)) as database:
        database.execute('CREATE TABLE "odd "" name" (event TEXT, body BLOB)')
        for filler in range(40):
            row = ("z" * 3_000, b"") if filler % 2 else (event, zlib.compress(f"{CANARY} {'n' * 99}".encode()))
            database.execute('INSERT INTO "odd "" name" VALUES (?, ?)', row)
        database.execute('DELETE FROM "odd "" name" WHERE event LIKE ?', ("z%",))
        database.commit()
    found = scan(tmp_path).places["home/runs.db"]
    assert (found["account"] >= 20, found["canary"] >= 40) == (True, True)


def test_what_may_not_be_read_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Root may read all, so the refusal is the file system's here."""
    (tmp_path / "closed").mkdir()
    (tmp_path / "closed" / "a.log").write_text(ID)
    (tmp_path / "secret.log").write_text(ID)
    real_scandir, real_open = os.scandir, Path.open

    def scandir(path: str) -> object:
        if str(path).endswith("closed"):
            raise PermissionError(13, "Permission denied", str(path))
        return real_scandir(path)

    def refused(self: Path, *arguments: object) -> object:
        if self.name == "secret.log":
            raise PermissionError(13, "Permission denied", str(self))
        return real_open(self, *arguments)  # type: ignore[call-overload]

    monkeypatch.setattr(os, "scandir", scandir)
    monkeypatch.setattr(Path, "open", refused)
    found = scan(tmp_path)
    assert found.unsearched == {
        f"home: {tmp_path / 'closed'}": "it cannot be read: Permission denied",
        "home/secret.log": "it cannot be read: Permission denied",
    }


@pytest.mark.parametrize("key", [f"landing/{ID}.txt", f"landing/labels/{ID}/a.txt", f"landing/{CANARY}"])
def test_the_name_of_an_object_counts_too(key: str) -> None:
    found = Scan(s3=Bucket.of({key: b"text"})).run(TERMS)
    assert set(found.places) == {key}
