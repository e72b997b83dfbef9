"""`cippus doctor`: every fault is a finding with its fix, and no fault hides another."""

import io
import json
import shutil
import sys
from collections import namedtuple
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import polars as pl
import psycopg
import pyarrow as pa
import pytest
from deltalake import write_deltalake

from pipelines.cli.diagnosis import registry
from pipelines.cli.diagnosis.registry import Finding, Parts, Status, examine, registered
from pipelines.cli.main import main
from resources.errors import InputError
from resources.local_stack import EmbeddedStack
from resources.raw.store import Manifest, RawStoreResource
from resources.raw.writer import WindowFile
from resources.s3 import access
from tests.fakes import qdrant_server
from tests.worlds import faults
from tests.worlds.lineage import World
from tests.worlds.loaded import empty_world
from tests.worlds.refusing_s3 import refusing

Usage = namedtuple("Usage", "total used free")


@pytest.fixture(scope="module")
def world(stack: EmbeddedStack, tmp_path_factory: pytest.TempPathFactory) -> World:
    """A world whose lineage never ran. Every fault below is taken back."""
    made = replace(empty_world(stack, "doctor", tmp_path_factory.mktemp("doctor")), governor=None)
    made.s3.delete(list(made.objects()))
    return made


@pytest.fixture
def at(world: World, home: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A home whose settings are those of the world."""
    world.stack.write(home / "stack.json")
    monkeypatch.setenv("CIPPUS_POSTGRES_DSN", world.dsn)
    monkeypatch.setenv("CIPPUS_S3_BUCKET", world.s3.bucket)
    return home


def found_by(name: str) -> list[Finding]:
    chosen = [check for check in registered() if check.name == name]
    assert chosen
    return examine(Parts.of_environment(), chosen, limit_seconds=60)


def only_bad(name: str, status: Status) -> Finding:
    [bad] = [finding for finding in found_by(name) if finding.status is not Status.OK]
    assert bad.status is status
    assert bad.fix
    assert "\n" not in bad.text
    return bad


def call(monkeypatch: pytest.MonkeyPatch, *arguments: str) -> int:
    monkeypatch.setattr(sys, "argv", ["cippus", "doctor", *arguments])
    with pytest.raises(SystemExit) as ended:
        main()
    return int(ended.value.code or 0)


def test_a_healthy_world_without_a_lineage_is_exit_0_and_unchanged(
    world: World, at: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(registry, "LIMIT_SECONDS", 60)
    objects = world.objects()
    code = call(monkeypatch, "--json")
    found = json.loads(capsys.readouterr().out)["findings"]
    assert [one for one in found if one["status"] == "error"] == []
    assert code == 0
    assert {one["check"] for one in found} == {check.name for check in registered()}
    assert world.objects() == objects
    assert set(at.iterdir()) == {at / "stack.json"}


def test_a_stack_that_is_not_up_is_one_error_and_exit_1(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("CIPPUS_HOME", str(tmp_path / "none"))
    monkeypatch.setenv("COLUMNS", "200")
    monkeypatch.setattr(registry, "LIMIT_SECONDS", 60)
    assert call(monkeypatch) == 1
    printed = capsys.readouterr().out
    assert "is not up" in " ".join(printed.split())
    assert "1 error" in printed
    assert not (tmp_path / "none").exists()


def test_a_bad_setting_is_exit_2(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CIPPUS_BUCKETS", "12")
    monkeypatch.setenv("CIPPUS_CLOCK_SKEW_SECONDS", "soon")
    assert home.is_dir()
    assert call(monkeypatch) == InputError.exit_code


SQL = {
    "UPDATE posts SET updated_at = NULL WHERE post_id = (SELECT min(post_id) FROM posts)": (
        "UPDATE posts SET updated_at = now() WHERE updated_at IS NULL",
        ("rows without updated_at", Status.WARNING, "1 rows of posts have no updated_at"),
    ),
    "ALTER TABLE posts RENAME TO elsewhere": (
        "ALTER TABLE elsewhere RENAME TO posts",
        ("source", Status.ERROR, "The source has no table public.posts"),
    ),
    "DROP INDEX posts_updated_at": (
        "CREATE INDEX posts_updated_at ON posts (updated_at)",
        ("source", Status.WARNING, "public.posts has no index on updated_at"),
    ),
}


@pytest.mark.parametrize("change", SQL)
def test_a_fault_of_the_source_is_found(world: World, at: Path, change: str) -> None:
    back, (name, status, text) = SQL[change]
    world.execute(change)
    try:
        assert text in only_bad(name, status).text
    finally:
        world.execute(back)
    assert at.is_dir()


@pytest.mark.parametrize(("grants", "text"), [
    ("", "reader may not read public.accounts"),
    ("GRANT SELECT ON accounts, posts, testimonials TO reader; ALTER TABLE accounts ENABLE ROW LEVEL SECURITY",
     "Row-level security hides rows of public.accounts from reader"),
])  # fmt: skip
def test_a_role_that_does_not_see_every_row_is_found(
    world: World, at: Path, monkeypatch: pytest.MonkeyPatch, grants: str, text: str
) -> None:
    world.execute("CREATE ROLE reader LOGIN PASSWORD 'reader'")
    address = psycopg.conninfo.make_conninfo(world.dsn, user="reader", password="reader")
    monkeypatch.setenv("CIPPUS_POSTGRES_DSN", address)
    try:
        for statement in filter(None, grants.split("; ")):
            world.execute(statement)
        assert any(text in one.text and one.fix for one in found_by("source") if one.status is Status.ERROR)
    finally:
        world.execute("ALTER TABLE accounts DISABLE ROW LEVEL SECURITY")
        world.execute("DROP OWNED BY reader")
        world.execute("DROP ROLE reader")
    assert at.is_dir()


def test_an_old_transaction_is_named(world: World, at: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CIPPUS_OLD_TRANSACTION_SECONDS", "0.000001")
    with psycopg.connect(world.dsn, application_name="nightly job") as late:
        late.execute("SELECT 1")
        bad = only_bad("high-water mark", Status.WARNING)
        assert f"process {late.info.backend_pid}, user cippus, application nightly job" in bad.text
        assert f"pg_terminate_backend({late.info.backend_pid})" in bad.fix
    assert at.is_dir()


def test_a_clock_that_was_set_back_is_named(world: World, at: Path) -> None:
    with faults.clock_set_back(world):
        bad = only_bad("high-water mark", Status.WARNING)
        assert "No window is read until" in bad.text
        assert "raw_key_reconciliation" in bad.fix
    assert at.is_dir()


def odd_label_file(world: World) -> None:
    world.s3.put("landing/labels/labels.docx", b"x")


def window_set_aside(world: World) -> None:
    files = (WindowFile("raw/posts/none.parquet", 0, 7, 1),)
    window = Manifest(
        "postgres", "posts", 3, None, "2024-01-01T00:00:00+00:00", 8, aside=files, aside_reason="odd type"
    )
    world.s3.put_json("raw/posts/source=postgres/manifests/000000000003.json", asdict(window))
    world.s3.put("landing/quarantine/aside-postgres-posts-000000000003-0.parquet", _rejects())


def _rejects() -> bytes:
    buffer = io.BytesIO()
    pl.DataFrame({name: ["x"] for name in ("source_table", "row_key", "reason", "row_json")}).write_parquet(buffer)
    return buffer.getvalue()


def guard_that_stopped(world: World) -> None:
    said = "400 of 400 keys of posts vanished from postgres, so nothing was deleted; check for TRUNCATE."
    RawStoreResource(s3=world.s3).record_stop("postgres", "posts", said)


def table_of_another_engine(world: World) -> None:
    write_deltalake(
        world.s3.uri("lake/odd"),
        pa.table({"a": [1]}),
        storage_options=world.s3.delta_options,
        configuration={"delta.appendOnly": "true"},
    )


@pytest.mark.parametrize(("fault", "name", "status", "text"), [
    (odd_label_file, "dropped files", Status.WARNING, "landing/labels/labels.docx"),
    (window_set_aside, "windows set aside", Status.WARNING,
     "Window 3 of postgres/posts with 7 rows is set aside: odd type."),
    (guard_that_stopped, "stopped deletions", Status.ERROR, "400 of 400 keys of posts vanished from postgres"),
    (table_of_another_engine, "Delta tables", Status.ERROR, "delta.appendOnly"),
])  # fmt: skip
def test_what_is_silent_in_the_bucket_is_found(
    world: World, at: Path, fault: Callable[[World], None], name: str, status: Status, text: str
) -> None:
    fault(world)
    try:
        assert text in only_bad(name, status).text
    finally:
        world.s3.delete(list(world.objects()))
    assert at.is_dir()


def without_condition(params: dict[str, Any], **_: Any) -> Any:
    return {name: value for name, value in params.items() if name != "IfNoneMatch"}


def test_faults_of_s3_are_found(world: World, at: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    client = access.impatient_client(world.s3)
    monkeypatch.setattr(access, "impatient_client", lambda _s3: client)
    with refusing(client, "PutObject", under="raw/"):
        assert "raw/: put (AccessDenied)" in only_bad("S3 permissions", Status.ERROR).text
    client.meta.events.register("provide-client-params.s3.PutObject", without_condition)
    assert only_bad("S3 conditional puts", Status.ERROR).text == "S3 ignores If-None-Match."
    assert not world.objects()
    monkeypatch.setenv("CIPPUS_S3_BUCKET", "no-such-bucket")
    assert "NoSuchBucket" in only_bad("S3", Status.ERROR).text
    assert at.is_dir()


@pytest.mark.parametrize(("fault", "name", "status", "text"), [
    ("401", "vector index", Status.ERROR, "refuses the API key"),
    ("missing node", "Qdrant nodes", Status.ERROR, ""),
    ("version skew", "Qdrant nodes", Status.WARNING, "Versions differ"),
])  # fmt: skip
def test_faults_of_qdrant_are_found(
    at: Path, monkeypatch: pytest.MonkeyPatch, fault: str, name: str, status: Status, text: str
) -> None:
    with ExitStack() as running:
        cluster = running.enter_context(qdrant_server.running(2))
        running.enter_context(cluster.suffering(fault))
        monkeypatch.setenv("QDRANT_URL", cluster.url)
        monkeypatch.setenv("CIPPUS_QDRANT_NODES", ",".join(cluster.addresses))
        bad = [one for one in found_by(name) if one.status is status]
        assert any(text in one.text and one.fix for one in bad)
    assert at.is_dir()


def test_services_that_do_not_answer_are_found(at: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CIPPUS_EMBEDDINGS_URL", "http://127.0.0.1:9/v1")
    monkeypatch.setenv("CIPPUS_EMBEDDINGS_MODEL", "served")
    assert "127.0.0.1:9" in only_bad("embedding model", Status.ERROR).text
    monkeypatch.setenv("CIPPUS_POSTGRES_DSN", "host=127.0.0.1 port=9 dbname=x user=x")
    assert "cannot be reached" in only_bad("source", Status.ERROR).text
    assert at.is_dir()


def test_faults_of_this_machine_are_found(at: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (at / "settings.json").touch(mode=0o644)
    (at / "settings.json").chmod(0o644)
    assert only_bad("home", Status.WARNING).fix == f"chmod 600 {at / 'settings.json'}"
    for free, status in ((1 << 20, Status.ERROR), (3 << 30, Status.WARNING)):
        monkeypatch.setattr(shutil, "disk_usage", lambda _path, free=free: Usage(1 << 40, 0, free))
        assert "GiB free" in only_bad("disk", status).text
    monkeypatch.setattr(sys, "version_info", (3, 9))
    assert only_bad("python", Status.ERROR).text == "Python 3.9 is not supported."
    monkeypatch.setenv("CIPPUS_S3_GOVERNOR", "off")
    assert "governor is off" in only_bad("governor", Status.WARNING).text
