"""The command as a user meets it: a process, its exit code, its words."""

import json
import os
import re
import socket
import stat
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, get_args

import boto3
import httpx
import nbformat
import psycopg
import pytest
from botocore.config import Config
from dagster import DagsterInstance, DagsterRunStatus, RunsFilter, job
from nbclient import NotebookClient
from tenacity import stop_after_attempt

from assets.transforms.search.ranking import Retriever
from pipelines.checks.catalogue import CHECKS
from pipelines.cli.lineage import _PID_TAG, _close_abandoned, instance_folder, serving_ui
from pipelines.cli.main import main
from pipelines.cli.search import Retrievers
from pipelines.cli.supervisor import GO_ON
from pipelines.local import stack as embedded
from pipelines.local.run_lock import RunInProgressError, only_run, only_ui
from pipelines.local.server_process import wait_until
from pipelines.samples.creators import generate
from resources.errors import InputError
from resources.llm import embedding_endpoint
from resources.llm.endpoint import RETRY
from resources.local_stack import EmbeddedStack
from resources.models.embedder import MiniLmModel
from resources.models.model_files import ModelFiles
from resources.s3.client import S3Resource
from resources.s3.governor.process import running
from resources.settings import bucket_count
from tests.worlds.forked_commands import ForkedCommands, forked_commands

ROOT = Path(__file__).parents[3]
HEAVY = {
    *("assets", "boto3", "botocore", "dagster", "deltalake", "httpx", "numpy", "obstore", "onnxruntime", "polars"),
    *("psycopg", "pyarrow", "qdrant_client", "qdrant_edge", "s3fs", "uvloop", "yaml"),
}
"""Packages that `cippus --help` must not import."""
PROXIES = ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "http_proxy", "https_proxy", "all_proxy", "grpc_proxy")
GOVERNOR = ("s3-governor", "--port", "0", "--upstream", "http://127.0.0.1:9")


@dataclass(frozen=True)
class Printed:
    """What a command wrote."""

    stdout: str
    stderr: str


@dataclass(frozen=True)
class Cippus:
    """The command, on a home folder of its own, with few buckets."""

    home: Path
    forks: ForkedCommands | None = None

    @property
    def variables(self) -> dict[str, str]:
        """Its environment, with a proxy that does not answer: all its servers and clients are on loopback."""
        home = {"CIPPUS_HOME": str(self.home), "CIPPUS_BUCKETS": "2", "CIPPUS_ENCODER": "english"}
        proxies = dict.fromkeys(PROXIES, "http://127.0.0.1:9")
        return {**home, **proxies, "PATH": os.environ["PATH"], "COLUMNS": "200", "LANG": "C.UTF-8"}

    def process(self, *arguments: str, code: int = 0) -> Printed:
        """Run it as a process, as users do."""
        command = [sys.executable, "-m", "pipelines.cli", *arguments]
        done = subprocess.run(command, cwd=ROOT, env=self.variables, capture_output=True, text=True, check=False)
        return _printed(done, code)

    def fork(self, *arguments: str, code: int = 0) -> Printed:
        """Run it in a fork: for commands that load the definitions, which belong to one home and its governor."""
        assert self.forks is not None
        return _printed(self.forks.run(*arguments), code)


def _printed(done: subprocess.CompletedProcess[str], code: int) -> Printed:
    assert done.returncode == code, done.stdout + done.stderr
    return Printed(done.stdout, done.stderr)


Call = Callable[..., Printed]


@pytest.fixture
def call(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Call:
    """Run a command in this process, which saves seconds of imports."""

    def run(home: Path, *arguments: str, code: int = 0) -> Printed:
        monkeypatch.setenv("CIPPUS_HOME", str(home))
        monkeypatch.setattr(sys, "argv", ["cippus", *arguments])
        with pytest.raises(SystemExit) as ended:
            main()
        captured = capsys.readouterr()
        assert (ended.value.code or 0) == code, captured.out + captured.err
        return Printed(captured.out, captured.err)

    return run


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (("run",), "is not up: start it with `cippus up`."),
        (("checks",), "is not up: start it with `cippus up`."),
        (("search", "shoes"), "is not up: start it with `cippus up`."),
        (("ask", "who sells shoes?"), "is not up: start it with `cippus up`."),
        (("web", "--port", "18765"), "is not up: start it with `cippus up`."),
        (
            ("web", "--host", "192.0.2.1"),
            "The host is 192.0.2.1, which others reach; name your authenticating proxy's header",
        ),
        (("web", "--dagster-url", "javascript:x"), "it must begin with http:// or https://."),
        (("search", "shoes", "--vertical", "parkour"), "Unknown vertical 'parkour'; expected one of arts_culture"),
        (("load", "no-such-folder"), "no-such-folder is not a folder; expected one with accounts.parquet"),
        (("demo", "--data", "tests"), "tests has no accounts.parquet; expected accounts.parquet and posts.parquet."),
    ],
)
def test_bad_input_is_one_sentence_and_exit_2(
    call: Call, tmp_path: Path, arguments: tuple[str, ...], sentence: str
) -> None:
    done = call(tmp_path / "none", *arguments, code=2)
    assert sentence in done.stderr
    assert done.stderr.startswith("cippus: ")
    assert done.stderr.count("\n") == 1
    assert done.stdout == ""
    assert not (tmp_path / "none").exists()


def test_help_is_there_at_once_and_says_nothing_else(tmp_path: Path) -> None:
    printed = Cippus(tmp_path).process("--help")
    assert "Usage:" in printed.stdout
    assert printed.stderr == ""
    assert not _packages("import pipelines.cli.main") & HEAVY, "--help imports what no help needs"


def test_a_search_imports_no_asset_graph() -> None:
    code = "import pipelines.cli.main, assets.search.query, resources.wiring"
    assert not _modules(code) & {"pipelines.definitions", "assets.stages", "scipy"}


def test_definitions_import_no_client_that_few_need() -> None:
    """Each takes a second or more."""
    assert not _packages("import pipelines.definitions") & {"openai", "qdrant_client", "s3fs"}


def test_the_retrievers_of_search_are_the_ranking_s() -> None:
    assert list(get_args(Retrievers)) == [retriever.value for retriever in Retriever]


def _modules(code: str) -> set[str]:
    """Return the modules that a new process has imported after the code."""
    command = [sys.executable, "-c", f"import sys; {code}; print(*sys.modules)"]
    return set(subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout.split())


def _packages(code: str) -> set[str]:
    return {name.partition(".")[0] for name in _modules(code)}


def test_unknown_arguments_exit_2(call: Call, tmp_path: Path) -> None:
    assert "limit" in call(tmp_path, "search", "shoes", "--limit", "0", code=2).stderr
    assert call(tmp_path, "no-such-command", code=2).stdout == ""


@pytest.mark.parametrize(
    ("variables", "arguments", "sentence"),
    [
        ({"CIPPUS_ENV": "staging"}, ("run",), "CIPPUS_ENV is staging; it must be local, test or production."),
        ({"CIPPUS_ENV": "production"}, ("up",), "which CIPPUS_ENV=production does not have."),
        ({"CIPPUS_ENV": "production"}, ("demo",), "which CIPPUS_ENV=production does not have."),
        ({}, ("search", "\udcff"), "The query is not valid text; expected UTF-8."),
        ({}, ("a\x1b]0;t\x07[/x]\nb",), r"cippus: No such command 'a\x1b]0;t\x07[/x]\nb'."),
        ({}, ("search", "x", "--retriever", "\x9b[/x]\ncippus: done"), r"'\x9b[/x]\ncippus: done' is not one of"),
        ({}, ("load", "/\x1b[/x]\ny"), r"/\x1b[/x]\ny"),
        ({}, ("erase", " "), "The account id is empty; give an id of the source."),
        ({}, ("erase", "a", "--canary", ""), "A canary is empty or has a zero byte; give a text that occurs in"),
        ({}, ("erase", "a", "--canary", "b\udcff"), "The account id or a canary is not valid text; expected UTF-8."),
        ({}, ("erase", "\udcff"), "The account id or a canary is not valid text; expected UTF-8."),
        ({}, ("erase", "a", "--canaries", "/nope"), "--canaries is /nope; give a file with one text per line"),
        ({}, ("erase",), "Give the account's id once: as argument ACCOUNT_ID or by --account-file."),
        ({}, ("erase", "a", "--account-file", "/nope"), "Give the account's id once: as argument"),
        ({}, ("erase", "--account-file", "/nope"), "--account-file is /nope; give a file with one text per line"),
        ({}, ("erase", "a"), "is not up: start it with `cippus up`."),
        ({}, ("readmit", "a", "--reason", " "), "--reason is empty; say why the account may come back."),
        ({}, ("run", "--json", "."), "is a folder; expected a file to write the report to."),
        (
            {"CIPPUS_S3_GOVERNOR": "no"},
            ("s3-governor", "--port", "0"),
            "CIPPUS_S3_GOVERNOR is no; it must be on or off.",
        ),
        ({}, ("s3-governor", "--port", "0"), "is not up: start it with `cippus up`."),
        ({}, ("s3-governor", "--port", "99999", "--upstream", "http://s3"), "--port is 99999, expected 0"),
        ({}, ("s3-governor", "--port", "0", "--upstream", "ftp://s3"), "--upstream is 'ftp://s3', expected a URL such"),
        ({}, ("s3-governor", "--port", "0", "--upstream", "http://s3", "--depth", "-1"), "--depth is -1, expected 0"),
        ({}, (*GOVERNOR, "--token-file", os.devnull), "--token-file is /dev/null, expected a file with a token: it is"),
        ({}, (*GOVERNOR, "--token-file", "/nope"), "--token-file is /nope, expected a file with a token: No such file"),
        ({}, (*GOVERNOR, "--folder", __file__), "expected a folder that can be written: File exists."),
        ({}, (*GOVERNOR, "--ca-file", "/nope"), "--ca-file is /nope, expected a file of PEM certificates: No such"),
        (
            {"CIPPUS_S3_ENDPOINT": "http://AKIA:SEC/RET@host"},
            ("s3-governor", "--port", "0"),
            "CIPPUS_S3_ENDPOINT holds credentials",
        ),
    ],
)
def test_settings_are_refused_in_one_sentence(
    call: Call,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    variables: dict[str, str],
    arguments: tuple[str, ...],
    sentence: str,
) -> None:
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    refused = call(tmp_path / "none", *arguments, code=2)
    assert sentence in refused.stderr
    assert refused.stderr.count("\n") == 1
    assert "AKIA" not in refused.stderr
    assert "RET" not in refused.stderr
    assert not (tmp_path / "none").exists()


@pytest.mark.parametrize("text", ["0", "3", "-8", "eight", "²", ""])
def test_buckets_are_a_power_of_two(monkeypatch: pytest.MonkeyPatch, text: str) -> None:
    monkeypatch.setenv("CIPPUS_BUCKETS", text)
    with pytest.raises(InputError, match="it must be a power of two"):
        bucket_count()


def test_a_home_that_is_no_folder_is_refused(call: Call, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    assert "it must be a folder that can be written" in call(tmp_path / "file", "up", code=2).stderr
    assert "is not up" in call(tmp_path / "file", "run", code=2).stderr


def test_a_home_at_work_is_neither_wiped_nor_loaded(call: Call, tmp_path: Path) -> None:
    (tmp_path / "dataset.txt").write_text("another data set")
    with only_run(tmp_path):
        for arguments in (("down", "--wipe"), ("demo", "--accounts", "2")):
            assert "Another `cippus` command is working" in call(tmp_path, *arguments, code=2).stderr
    assert (tmp_path / "dataset.txt").read_text() == "another data set"


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


def test_a_used_port_of_the_ui_is_refused_before_anything_is_started(call: Call, tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as used:
        port = used.getsockname()[1]
        refused = call(tmp_path / "none", "dev", "--port", str(port), code=2).stderr
    assert refused == (
        f"cippus: Port {port} of 127.0.0.1 cannot be used: Address already in use. "
        f"Choose another: cippus dev --port {port + 1}\n"
    )
    for port in (0, 65536):
        assert "--port" in call(tmp_path / "none", "dev", "--port", str(port), code=2).stderr
    assert not (tmp_path / "none").exists()


def test_a_second_ui_of_a_home_is_refused(tmp_path: Path) -> None:
    with only_ui(tmp_path), pytest.raises(RunInProgressError, match="Another `cippus dev` serves"):
        serving_ui(tmp_path).__enter__()


@job
def killed_run() -> None: ...


def test_a_killed_run_gives_its_place_in_a_pool_back(tmp_path: Path) -> None:
    with DagsterInstance.from_config(str(instance_folder(tmp_path))) as instance:
        killed = instance.create_run_for_job(killed_run, status=DagsterRunStatus.STARTED, tags={_PID_TAG: "1"})
        pools = instance.event_log_storage
        pools.initialize_concurrency_limit_to_default("qdrant")
        assert pools.claim_concurrency_slot("qdrant", killed.run_id, "step").is_claimed
        assert not pools.claim_concurrency_slot("qdrant", "next", "step").is_claimed
        _close_abandoned(instance, of_commands=True)
        assert [run.status for run in instance.get_runs()] == [DagsterRunStatus.FAILURE]
        assert pools.claim_concurrency_slot("qdrant", "next", "step").is_claimed


def test_the_ui_closes_runs_that_were_killed_but_not_those_of_a_command_at_work(tmp_path: Path) -> None:
    with DagsterInstance.from_config(str(instance_folder(tmp_path))) as instance:
        tags = {"of a command": {_PID_TAG: "1"}, "of the UI": {}}
        runs = {
            name: instance.create_run_for_job(killed_run, status=DagsterRunStatus.STARTED, tags=tag).run_id
            for name, tag in tags.items()
        }

        def active() -> set[str]:
            found = {run.run_id for run in instance.get_runs(RunsFilter(statuses=[DagsterRunStatus.STARTED]))}
            return {name for name, run in runs.items() if run in found}

        with only_run(tmp_path), serving_ui(tmp_path):
            assert active() == {"of a command"}
        with serving_ui(tmp_path):
            assert active() == set()
