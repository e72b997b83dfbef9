"""The command as a user meets it: a process, its exit code, its words."""

import os
import subprocess
import sys
from pathlib import Path
from typing import get_args

import pytest

from assets.transforms.search.ranking import Retriever
from pipelines.cli.search import Retrievers
from pipelines.local.run_lock import only_run
from resources.errors import InputError
from resources.settings import bucket_count
from tests.worlds.command_line import ROOT, Call, Cippus

HEAVY = {
    *("assets", "boto3", "botocore", "dagster", "deltalake", "httpx", "numpy", "obstore", "onnxruntime", "polars"),
    *("psycopg", "pyarrow", "qdrant_client", "qdrant_edge", "s3fs", "uvloop", "yaml"),
}
"""Packages that `cippus --help` must not import."""
GOVERNOR = ("s3-governor", "--port", "0", "--upstream", "http://127.0.0.1:9")


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
