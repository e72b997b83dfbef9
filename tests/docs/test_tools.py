"""Makefile, CI, changelog and pre-commit agree."""

import re
import subprocess
import tomllib
from pathlib import Path

import pytest
import yaml

from tests.docs.texts import MAKEFILE, README, ROOT, TARGETS


def test_make_alone_lists_the_commands_and_every_target_is_phony() -> None:
    assert ".DEFAULT_GOAL := help" in MAKEFILE
    phony = re.search(r"^\.PHONY: (.*)$", MAKEFILE, re.MULTILINE)
    assert phony
    assert set(phony.group(1).split()) == TARGETS
    listed = subprocess.run(["make", "help"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    assert set(re.findall(r"^make ([a-z]+)", listed, re.MULTILINE)) == TARGETS


def test_ci_runs_what_a_person_runs() -> None:
    script = (ROOT / ".ci" / "run").read_text()
    assert "set -euo pipefail" in script
    called = re.findall(r"^make ([a-z]+)$", script, re.MULTILINE)
    assert called == ["check", "audit", "test"]
    assert "CI is `.ci/run`: `make check`, `make audit` and `make test`." in README


@pytest.mark.parametrize(("code", "passes"), [(0, True), (1, False), (2, True), (101, False)])
def test_an_audit_fails_on_what_it_finds_and_not_on_a_missing_network(code: int, passes: bool, tmp_path: Path) -> None:
    uv = tmp_path / "uv"
    uv.write_text(f'#!/bin/sh\necho "$@"\nexit {code}\n')
    uv.chmod(0o755)
    make = ["make", "--no-print-directory", "-o", ".venv/.ready", "audit", f"bin={tmp_path}"]
    done = subprocess.run(make, cwd=ROOT, capture_output=True, text=True, check=False)
    assert "audit --locked" in done.stdout
    assert (done.returncode == 0) is passes
    assert ("Not audited" in done.stdout.splitlines()[-1]) is (code == 2)


def test_make_check_builds_the_docs_and_fails_on_a_warning() -> None:
    recipes = dict(re.findall(r"^([a-z]+):.*\n((?:\t.*\n)+)", MAKEFILE, re.MULTILINE))
    assert "$(MAKE) --no-print-directory docs" in recipes["check"]
    assert "sphinx-build --fail-on-warning --keep-going --nitpicky" in recipes["docs"]


def test_changelog_has_this_version_and_pre_commit_runs_our_tools() -> None:
    version = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]
    assert re.search(rf"^## \[{re.escape(version)}\] - \d{{4}}-\d\d-\d\d$", (ROOT / "CHANGELOG.md").read_text(), re.M)
    [local] = yaml.safe_load((ROOT / ".pre-commit-config.yaml").read_text())["repos"]
    assert local["repo"] == "local"
    for hook in local["hooks"]:
        tool = hook["entry"].split()
        known = tool[1] in TARGETS if tool[0] == "make" else tool[0].removeprefix(".venv/bin/") in MAKEFILE
        assert known, hook["entry"]
