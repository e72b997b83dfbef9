"""A small demo, and the commands on the home that it leaves."""

import json
import os
import re
import stat
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import boto3
import httpx
import nbformat
import psycopg
import pytest
from botocore.config import Config
from dagster import DagsterInstance, DagsterRunStatus, RunsFilter
from nbclient import NotebookClient
from tenacity import stop_after_attempt

from pipelines.checks.catalogue import CHECKS
from pipelines.cli.lineage import instance_folder
from pipelines.cli.supervisor import GO_ON
from pipelines.local import stack as embedded
from pipelines.local.run_lock import only_run
from pipelines.local.server_process import wait_until
from pipelines.samples.creators import generate
from resources.llm import embedding_endpoint
from resources.llm.endpoint import RETRY
from resources.local_stack import EmbeddedStack
from resources.models.embedder import MiniLmModel
from resources.models.model_files import ModelFiles
from resources.s3.client import S3Resource
from resources.s3.governor.process import running
from tests.worlds.command_line import ROOT, Call, Cippus
from tests.worlds.forked_commands import forked_commands


@pytest.fixture(scope="module")
def demo(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Cippus, str]]:
    """A small demo, from an empty home to its searches."""
    cippus = Cippus(tmp_path_factory.mktemp("demo"))
    try:
        printed = cippus.process("demo", "--accounts", "6").stdout
        with forked_commands(cippus.variables) as forks:
            yield replace(cippus, forks=forks), printed
    finally:
        embedded.down(cippus.home)


def test_demo_ends_with_the_table_and_three_searches(demo: tuple[Cippus, str]) -> None:
    _, printed = demo
    assert printed.index("loaded") < printed.index("lineage in") < printed.index("0 failed, 0 not evaluated")
    assert printed.index("0 failed") < printed.index("“vegan recipes”") < printed.index("“marathon training”")
    counts = re.search(r"(\d+) passed, 0 failed, 0 not evaluated, (\d+) had nothing to check", printed)
    assert counts is not None
    assert sum(map(int, counts.groups())) == len(CHECKS)


@pytest.fixture(scope="module")
def unchanged(demo: tuple[Cippus, str], tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """The report of a run with nothing to do."""
    file = tmp_path_factory.mktemp("unchanged") / "report.json"
    demo[0].fork("run", "--json", str(file))
    report: dict[str, Any] = json.loads(file.read_text())
    return report


def test_a_run_with_nothing_to_do_writes_its_report(
    demo: tuple[Cippus, str], unchanged: dict[str, Any], call: Call
) -> None:
    assert unchanged["wall_seconds"] > 0
    assert unchanged["failures"] == {}
    assets = unchanged["assets"]
    assert assets["embedding/cippus_text"]["embedded"] == 0
    assert assets["qdrant/cippus_text"]["upserted"] == 0
    assert all(found["inserted"] + found["updated"] + found["deleted"] == 0 for found in assets.values())
    assert all({"rows", "bytes", "seconds", "skipped"} <= set(found) for found in assets.values())
    assert "is not a folder" in call(demo[0].home, "run", "--json", "/no/such/folder/r.json", code=2).stderr


def test_a_run_that_a_signal_stops_is_canceled_and_the_next_one_goes_on_without_the_governor(
    demo: tuple[Cippus, str], tmp_path: Path
) -> None:
    """Without the governor the next run says so, and sends nothing through it."""
    cippus, _ = demo
    command = [sys.executable, "-m", "pipelines.cli", "run"]
    with (
        DagsterInstance.from_config(str(instance_folder(cippus.home))) as instance,
        subprocess.Popen(command, cwd=ROOT, env=cippus.variables, stderr=subprocess.PIPE, text=True) as process,
    ):
        is_at_work = RunsFilter(statuses=[DagsterRunStatus.STARTED])
        assert wait_until(lambda: instance.get_runs_count(is_at_work) == 1, 120)
        process.terminate()
        assert process.communicate(timeout=30)[1] == f"cippus: Stopped by SIGTERM. {GO_ON}\n"
        assert process.returncode == 143
        [stopped] = instance.get_runs(limit=1)
        assert stopped.status is DagsterRunStatus.CANCELED
        with only_run(cippus.home):
            pass
        before = [governor.status()["prefixes"] for governor in running(cippus.home / "governor")]
        printed = cippus.process("run", "--no-governor", "--json", str(tmp_path / "report.json"))
        [after] = instance.get_runs(limit=1)
        assert after.status is DagsterRunStatus.SUCCESS
    assert "the request governor is off" in printed.stderr
    for asset, found in json.loads((tmp_path / "report.json").read_text())["assets"].items():
        assert found["s3_governor"] == "off", asset
        assert "s3_requests" not in found
    assert [governor.status()["prefixes"] for governor in running(cippus.home / "governor")] == before


def test_every_asset_reports_its_s3_traffic_and_status_the_governor(
    demo: tuple[Cippus, str], unchanged: dict[str, Any], call: Call
) -> None:
    cippus, _ = demo
    for asset, found in unchanged["assets"].items():
        assert found["s3_requests"] == sum(row["requests"] for row in found["s3_prefixes"]) > 0, asset
        assert found["s3_throttled"] == found["s3_given_up"] == found["s3_wasted_percent"] == 0, asset
        assert all(row["rate_per_second"] > 0 for row in found["s3_prefixes"])
    [governor] = json.loads(call(cippus.home, "status", "--json").stdout)["governors"]
    shown = call(cippus.home, "status").stdout
    assert f"process {governor['pid']} for {governor['upstream']}" in shown
    assert "raw/posts" in {found["prefix"] for found in governor["prefixes"]}


def test_the_governor_as_a_command_serves_the_environments_s3(demo: tuple[Cippus, str], call: Call) -> None:
    cippus, _ = demo
    at = EmbeddedStack(**json.loads(call(cippus.home, "up", "--json").stdout))
    variables = {**os.environ, "CIPPUS_HOME": str(cippus.home)}
    command = [sys.executable, "-m", "pipelines.cli", "s3-governor", "--port", "0", "--depth", "1"]
    with subprocess.Popen(command, cwd=ROOT, env=variables, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        line = process.stdout.readline()
        found = re.search(r"on (http://127\.0\.0\.1:\d+), forwarding to (\S+)", line)
        assert found
        assert found[2] == at.s3_endpoint
        token = (cippus.home / "s3-governor.token").read_text()
        assert stat.S_IMODE((cippus.home / "s3-governor.token").stat().st_mode) == 0o600
        assert httpx.get(f"{found[1]}/status").status_code == 401
        proxy = {"http": found[1].replace("//", f"//cippus:{token}@")}
        client = boto3.client(
            "s3",
            endpoint_url="http://s3.test.invalid",
            aws_access_key_id=at.s3_access_key_id,
            aws_secret_access_key=at.s3_secret_access_key,
            region_name="us-east-1",
            config=Config(proxies=proxy, s3={"addressing_style": "path"}),
        )
        assert client.list_objects_v2(Bucket="cippus", Prefix="raw/")["KeyCount"] > 0
        process.terminate()
        assert process.wait(20) == 143


def test_search_ranks_accounts_with_evidence(demo: tuple[Cippus, str], call: Call) -> None:
    cippus, _ = demo
    found = json.loads(call(cippus.home, "search", "music concert", "--limit", "3", "--json").stdout)
    scores = [account["score"] for account in found["accounts"]]
    assert len(scores) == 3
    assert scores == sorted(scores, reverse=True)
    assert all(account["evidence"] and account["evidence"][0]["text"] for account in found["accounts"])
    shown = {"network", "country", "language", "followers", "verticals", "relevance", "dense_part", "bm25_part"}
    assert shown <= found["accounts"][0].keys()
    assert {"posted_at", "media_url", "relevance"} <= found["accounts"][0]["evidence"][0].keys()
    handle = found["accounts"][2]["handle"]
    [named] = json.loads(call(cippus.home, "search", f"@{handle}", "--limit", "1", "--json").stdout)["accounts"]
    assert (named["handle"], named["name"]["is_exact"]) == (handle, True)
    page = call(cippus.home, "search", "--like", handle, "--page", "2", "--limit", "2", "--facets").stdout
    assert "More accounts are on the next page" in page
    assert "network: " in page
    assert "Unknown network 'utube'" in call(cippus.home, "search", "music", "--network", "utube", code=2).stderr
    assert "The query is empty" in call(cippus.home, "search", "  ", code=2).stderr
    unreadable = "The embedding model cannot read this query"
    assert unreadable in call(cippus.home, "search", "สวัสดีครับ 🍕").stderr
    assert unreadable not in call(cippus.home, "search", "music").stderr


@pytest.mark.parametrize("arguments", [("search", "music concert"), ("reconcile",)])
@pytest.mark.parametrize(
    ("url", "model", "code", "sentence"),
    [
        ("http://127.0.0.1:9/v1", MiniLmModel.name, 1, "/embeddings did not answer: ConnectError"),
        ("http://host:abc", MiniLmModel.name, 2, "The embeddings endpoint is 'http://host:abc', expected http://"),
        ("http://127.0.0.1:9/v1", "", 2, "has no model, expected the name that it serves."),
    ],
)
def test_an_endpoint_that_gives_no_vectors_is_one_sentence(
    demo: tuple[Cippus, str],
    call: Call,
    monkeypatch: pytest.MonkeyPatch,
    arguments: tuple[str, ...],
    url: str,
    model: str,
    code: int,
    sentence: str,
) -> None:
    monkeypatch.setattr(embedding_endpoint, "RETRY", RETRY.copy(stop=stop_after_attempt(1)))
    settings = {"URL": url, "MODEL": model, "API_KEY": "sk-of-the-test"}
    for name, value in settings.items():
        monkeypatch.setenv(f"CIPPUS_EMBEDDINGS_{name}", value)
    done = call(demo[0].home, *arguments, code=code)
    assert sentence in done.stderr
    assert done.stderr.strip().count("\n") == 0
    assert "sk-of-the-test" not in done.stderr


def test_the_notebook_of_the_guide_runs(demo: tuple[Cippus, str], monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in demo[0].variables.items():
        monkeypatch.setenv(name, value)
    notebook = nbformat.reads((ROOT / "docs" / "guides" / "search.ipynb").read_text(encoding="utf-8"), as_version=4)  # type: ignore[no-untyped-call]
    assert not any(cell.outputs for cell in notebook.cells if cell.cell_type == "code"), "it is stored without results"
    done = NotebookClient(
        notebook, kernel_name="python3", timeout=120, resources={"metadata": {"path": str(ROOT)}}
    ).execute()
    printed = "".join(
        output.get("text", "") + output.get("data", {}).get("text/plain", "")
        for cell in done.cells
        if cell.cell_type == "code"
        for output in cell.outputs
    )
    assert "vegan" in printed.casefold()
    assert "followers" in printed


def test_missing_weights_are_one_sentence(
    demo: tuple[Cippus, str], call: Call, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(MiniLmModel, "files", ModelFiles("no-such-weights", "model", MiniLmModel.files.sha256))
    monkeypatch.setenv("CIPPUS_EMBEDDER_THREADS", "3")  # a model that this process has not opened yet
    done = call(demo[0].home, "search", "music concert", code=1)
    assert "The embedding model's weights are not installed" in done.stderr


def test_erase_takes_an_account_out_of_the_whole_stack(demo: tuple[Cippus, str]) -> None:
    cippus, _ = demo
    account = "acc_0000001"
    cippus.fork("erase", account, "--scan-only", code=1)
    file = cippus.home.parent / "account.txt"
    file.write_text(f"{account}\n")
    receipt = json.loads(cippus.fork("erase", "--account-file", str(file), "--json").stdout)
    assert receipt["not_searched"] == {}
    assert receipt["found_before"]["layers"].keys() >= {"raw", "lake", "corpus", "mart", "qdrant"}
    assert receipt["found_after"]["left_in"] == []
    assert receipt["removed"]["s3 volumes"]["bytes"] > 0
    assert account not in json.dumps(receipt)
    assert "nothing found" in cippus.fork("erase", account, "--scan-only").stdout
    assert "The tombstone is lifted" in cippus.fork("readmit", account, "--reason", "It came back.").stdout
    assert "was not erased" in cippus.fork("readmit", account, "--reason", "Again.", code=2).stderr
    assert "Nothing of account 'nobody' is stored" in cippus.fork("erase", "nobody", code=2).stderr


def test_a_failing_check_of_severity_error_exits_1(demo: tuple[Cippus, str], call: Call) -> None:
    cippus, _ = demo
    found = json.loads(call(cippus.home, "up", "--json").stdout)
    _delete_one_object(EmbeddedStack(**found), "raw/posts/")
    failed = json.loads(cippus.fork("checks", "--json", code=1).stdout)
    assert {"raw/posts"} <= {check["asset"] for check in failed["checks"] if not check["passed"]}


def _delete_one_object(stack: EmbeddedStack, prefix: str) -> None:
    s3 = S3Resource(
        bucket="cippus",
        endpoint_url=stack.s3_endpoint,
        access_key_id=stack.s3_access_key_id,
        secret_access_key=stack.s3_secret_access_key,
    )
    s3.delete([next(item.key for item in s3.list_objects(prefix) if item.key.endswith(".parquet"))])


def test_status_load_and_a_demo_that_would_mix(demo: tuple[Cippus, str], call: Call, tmp_path: Path) -> None:
    cippus, _ = demo
    status = json.loads(call(cippus.home, "status", "--json").stdout)
    assert (status["postgres"], status["s3"]) == (True, True)
    generate(tmp_path, accounts=2, seed=99)
    loaded = json.loads(call(cippus.home, "load", str(tmp_path), "--json").stdout)
    assert loaded["tables"]["accounts"]["read"] == 2
    assert call(cippus.home, "down").stderr == ""
    stopped = {"postgres": False, "s3": False, "governors": []}
    assert json.loads(call(cippus.home, "status", "--json").stdout) == stopped
    dsn = json.loads(call(cippus.home, "up", "--json").stdout)["postgres_dsn"]
    with psycopg.connect(dsn) as connection:
        row = connection.execute("SELECT count(*) FROM accounts").fetchone()
    assert row is not None
    assert row[0] >= 6
    assert "Run `cippus down --wipe` first" in call(cippus.home, "demo", "--accounts", "6", code=2).stderr
