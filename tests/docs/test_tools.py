"""Makefile, CI, changelog and pre-commit agree."""

import re
import subprocess
import tomllib

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
    assert called == ["check", "test"]
    assert "CI is `.ci/run`: `make check` and `make test`." in README


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
