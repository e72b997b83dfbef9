"""Makefile, CI, changelog and pre-commit agree."""

import os
import re
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any, cast

import pytest
import yaml

from pipelines.cli.job_summary import as_markdown
from resources.settings import variables
from tests.docs.definitions import commands
from tests.docs.texts import MAKEFILE, README, ROOT, TARGETS

WORKFLOWS = sorted((ROOT / ".github" / "workflows").glob("*.yml"))


def test_make_alone_lists_the_commands_and_every_target_is_phony() -> None:
    assert ".DEFAULT_GOAL := help" in MAKEFILE
    phony = re.search(r"^\.PHONY: (.*)$", MAKEFILE, re.MULTILINE)
    assert phony
    assert set(phony.group(1).split()) == TARGETS
    listed = subprocess.run(["make", "help"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    assert set(re.findall(r"^make ([a-z-]+)", listed, re.MULTILINE)) == TARGETS


def test_ci_runs_what_a_person_runs() -> None:
    script = (ROOT / ".ci" / "run").read_text()
    assert "set -euo pipefail" in script
    called = re.findall(r"^make ([a-z-]+)$", script, re.MULTILINE)
    assert called == ["check", "audit", "test"]
    assert "CI is `.ci/run`: `make check`, `make audit` and `make test`." in README


@pytest.mark.parametrize(
    ("code", "where", "passes"),
    [(0, "", True), (1, "", False), (2, "", True), (101, "", False), (0, "true", True), (2, "true", False)],
)
def test_an_audit_fails_on_what_it_finds_and_on_a_missing_network_only_on_github(
    code: int, where: str, passes: bool, tmp_path: Path
) -> None:
    uv = tmp_path / "uv"
    uv.write_text(f'#!/bin/sh\necho "$@"\nexit {code}\n')
    uv.chmod(0o755)
    make = ["make", "--no-print-directory", "-o", ".venv/.ready", "audit", f"bin={tmp_path}"]
    variables = {**os.environ, "GITHUB_ACTIONS": where}
    done = subprocess.run(make, cwd=ROOT, env=variables, capture_output=True, text=True, check=False)
    assert "audit --locked" in done.stdout
    assert (done.returncode == 0) is passes
    assert ("Not audited" in done.stdout.splitlines()[-1]) is (code == 2)


def test_github_audits_the_lock_when_it_changes_and_every_day() -> None:
    workflow = yaml.safe_load((ROOT / ".github" / "workflows" / "audit.yml").read_text())
    when = workflow[True]  # YAML reads `on` as true
    assert "uv.lock" in when["pull_request"]["paths"]
    assert when["schedule"] == [{"cron": "40 5 * * *"}]
    assert [step["run"] for step in workflow["jobs"]["audit"]["steps"] if "run" in step] == ["make audit"]


def test_every_module_has_at_most_300_lines() -> None:
    folders = ("pipelines", "assets", "resources", "tests")
    modules = [path for folder in folders for path in (ROOT / folder).rglob("*.py")]
    lengths = {path.relative_to(ROOT).as_posix(): path.read_text().count("\n") for path in modules}
    assert len(lengths) > 900
    assert [name for name, length in lengths.items() if length > 300] == []


def test_make_check_builds_the_docs_and_fails_on_a_warning() -> None:
    recipes = dict(re.findall(r"^([a-z-]+):.*\n((?:\t.*\n)+)", MAKEFILE, re.MULTILINE))
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


def _jobs(workflow: Path) -> dict[str, dict[str, Any]]:
    return cast("dict[str, dict[str, Any]]", yaml.safe_load(workflow.read_text())["jobs"])


@pytest.mark.parametrize("workflow", WORKFLOWS, ids=lambda path: path.stem)
def test_workflows_run_what_exists_with_few_rights(workflow: Path) -> None:
    steps = [step for job in _jobs(workflow).values() for step in job["steps"]]
    scripts = "\n".join(step["run"] for step in steps if "run" in step)
    assert set(re.findall(r"^make ([a-z-]+)", scripts, re.MULTILINE)) <= TARGETS
    assert set(re.findall(r"/cippus ([a-z]+)", scripts)) <= set(commands())
    for module in re.findall(r"python -m ([\w.]+)", scripts):
        assert (ROOT / module.replace(".", "/")).with_suffix(".py").is_file()
    assert all(re.search(r"@[0-9a-f]{40}$", step["uses"]) for step in steps if "uses" in step)
    rights = {name: right for job in _jobs(workflow).values() for name, right in job["permissions"].items()}
    assert rights.pop("contents") == "read"
    assert set(rights) <= {"id-token"}
    assert yaml.safe_load(workflow.read_text())["permissions"] == {}


def test_the_deployed_instance_gets_the_variables_of_production() -> None:
    [job] = _jobs(ROOT / ".github" / "workflows" / "deployed-checks.yml").values()
    given = {*job["env"], *(name for step in job["steps"] for name in step.get("env", {}))}
    assert given <= {variable.name for variable in variables()}
    deployed = yaml.safe_load((ROOT / "pipelines" / "deploy" / "configmap.yaml").read_text())["data"]
    paced = {"AWS_REGION", "CIPPUS_S3_MAX_WRITES", "CIPPUS_S3_MAX_READS"}
    assert set(deployed) - paced == set(job["env"])


BAD_WORKFLOW = """
name: bad
on: pull_request_target
jobs:
  bad:
    runs-on: ubuntu-24.04
    steps:
      - uses: actions/checkout@v7
      - run: echo ${{ github.event.pull_request.title }}
        unknown: key
"""


def test_make_check_refuses_an_insecure_or_malformed_workflow(tmp_path: Path) -> None:
    folder = tmp_path / ".github" / "workflows"
    folder.mkdir(parents=True)
    (folder / "bad.yml").write_text(BAD_WORKFLOW)
    lines = {
        tool: re.search(rf"^\t\$\(bin\)/{tool} (.*)$", MAKEFILE, re.MULTILINE)
        for tool in ("zizmor", "check-jsonschema")
    }
    said = {}
    for tool, line in lines.items():
        assert line
        arguments = line[1].replace("$(wildcard .github/workflows/*.yml)", ".github/workflows/bad.yml").split()
        command = [Path(sys.executable).parent / tool, *arguments]
        done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
        assert done.returncode != 0
        said[tool] = done.stdout + done.stderr
    for found in ("unpinned-uses", "template-injection", "dangerous-triggers", "excessive-permissions", "artipacked"):
        assert found in said["zizmor"]
    assert "bad.yml" in said["check-jsonschema"]


def test_a_job_summary_shows_what_failed_as_text() -> None:
    check = {"asset": "lake/posts", "check": "keys_unique", "passed": True, "severity": "ERROR", "description": ""}
    odd = {**check, "passed": False, "description": "3 rows | <b>of</b> `posts`\nare twice"}
    assert as_markdown({"checks": [check], "broken": {}}) == "## Checks\n\n1 passed, 0 failed, 0 not evaluated\n"
    shown = as_markdown({"checks": [check, odd], "broken": {"raw/posts": "The database is away."}})
    *_, failed, broken = shown.splitlines()
    assert "1 passed, 1 failed, 1 not evaluated" in shown
    assert failed == (
        "| lake/posts: keys&#95;unique | ERROR | 3 rows &#124; &#60;b&#62;of&#60;/b&#62; &#96;posts&#96; are twice |"
    )
    assert broken == "| raw/posts | not evaluated | The database is away. |"
