"""No text of data is a control character, a line, or Markdown in logs, errors, check results and the UI."""

import logging
import unicodedata

import dagster
import pytest
from dagster import AssetCheckResult, DagsterInstance, RetryPolicy
from hypothesis import given
from hypothesis import strategies as st

from assets.framework.asset import asset
from assets.framework.incremental import RunMetrics
from pipelines.checks.declaration import Check
from pipelines.checks.evaluation import Verdict, evaluation
from pipelines.checks.raw import _described
from resources.errors import CippusError, InputError, PermanentFailure, TransientFailure
from resources.plain_text import as_code, plain, plain_lines
from resources.sources.protocol import OpenTransaction
from tests.pipelines.cli.test_terminal import HOSTILE, controls, texts


@pytest.mark.parametrize("kind", [CippusError, PermanentFailure, TransientFailure, InputError])
def test_no_error_has_a_control_character(kind: type[CippusError]) -> None:
    for text in HOSTILE:
        assert not controls(str(kind(f"The value is {text}; fix it."))) - {"\t"}
    assert str(kind("two\nlines")) == "two\nlines"


@given(texts)
def test_a_plain_text_is_one_line_and_stays_as_it_is(text: str) -> None:
    once = plain(text)
    assert not controls(once)
    assert not any(unicodedata.category(character) in ("Cc", "Zl", "Zp") for character in once)
    assert plain(once) == once
    assert plain_lines(text).count("\n") == text.count("\n")


@given(st.one_of(texts, st.text("`[]()<>!*_ a", max_size=12)))
def test_code_of_markdown_holds_the_whole_text(text: str) -> None:
    code = as_code(text)
    fence = code[: len(code) - len(code.lstrip("`"))]
    assert code.endswith(fence)
    inner = code[len(fence) : -len(fence)]
    assert inner.strip(" ") == plain(text).strip(" ")
    assert fence not in inner.split(" ")
    assert not inner.startswith("`")


@pytest.mark.parametrize("text", HOSTILE)
def test_the_log_of_a_failed_step_has_no_control_character(text: str) -> None:
    @asset(key=["raw", "posts"], retry_policy=RetryPolicy(max_retries=0))
    def posts() -> RunMetrics:
        raise OSError(5, text.encode(errors="replace").decode())

    with DagsterInstance.ephemeral() as instance:
        job = dagster.Definitions([posts]).resolve_implicit_global_asset_job_def()
        result = job.execute_in_process(instance=instance, raise_on_error=False)
        logged = [entry.user_message for entry in instance.all_logs(result.run_id) if entry.level == logging.ERROR]
    assert not controls(logged[0])


@pytest.mark.parametrize("text", HOSTILE)
def test_what_a_check_found_has_no_control_character(text: str) -> None:
    found = Verdict(answer=AssetCheckResult(passed=False, description=f"{text} is wrong.", metadata={"n": 1}))
    answer = evaluation(Check("raw/posts", "found", lambda: None), found)
    assert not controls(answer.description or "")
    assert (answer.passed, answer.metadata["n"].value) == (False, 1)
    row = {"key": text, "updated_at": "x", "problem": "p", "source": "a", "other": "b"}
    assert _described(row).startswith(as_code(text))


@pytest.mark.parametrize("text", [*HOSTILE, "x'; DROP TABLE posts; --"])
def test_an_application_may_call_itself_anything(text: str) -> None:
    from datetime import UTC, datetime

    for pid in (0, 7):
        found = OpenTransaction(pid=pid, user=text, application=text, state="idle", since=datetime.now(UTC))
        assert not controls(found.describe() + found.remedy)
        quoted = found.remedy.removeprefix("ROLLBACK PREPARED '").removesuffix("'")
        assert pid or "'" not in quoted.replace("''", "")
