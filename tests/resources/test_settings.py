"""Settings: the defaults that are documented, the smallest and largest values that are taken, account buckets."""

from decimal import Decimal
from pathlib import Path

import pytest
from pydantic import ValidationError

from resources import settings
from resources.errors import InputError
from resources.settings import Environment, LlmSettings, LogFormat, S3Settings


@pytest.fixture(autouse=True)
def _bare(monkeypatch: pytest.MonkeyPatch) -> None:
    for variable in settings.variables():
        monkeypatch.delenv(variable.name, raising=False)


def _by_name() -> dict[str, object]:
    """Every variable that is not a secret, with the value that it has now."""
    read = [area.read() for area in settings.AREAS]
    return {
        str(field.validation_alias): getattr(found, name)
        for found in read
        for name, field in type(found).model_fields.items()
    }


def test_defaults_are_the_documented_ones() -> None:
    found = {name: value for name, value in _by_name().items() if value not in ("", 0, None)}
    assert found == {
        "CIPPUS_ENV": "local", "CIPPUS_HOME": Path(".cippus"), "CIPPUS_LOG_FORMAT": "text",
        "CIPPUS_SOURCE": "postgres", "CIPPUS_STATEMENT_TIMEOUT_SECONDS": 3600, "CIPPUS_CLOCK_SKEW_SECONDS": 60,
        "CIPPUS_OLD_TRANSACTION_SECONDS": 3600.0, "CIPPUS_RDS_EXPORT_OPEN_SECONDS": 3600,
        "CIPPUS_REDSHIFT_SCHEMA": "public", "CIPPUS_S3_BUCKET": "cippus", "CIPPUS_S3_GOVERNOR": "on",
        "CIPPUS_S3_DEPTH": 2, "CIPPUS_S3_DEADLINE": 60.0, "AWS_REGION": "us-east-1",
        "CIPPUS_LAKE_RETENTION_HOURS": 168, "CIPPUS_QDRANT_QUANTIZATION": "none", "CIPPUS_ENCODER": "multilingual",
        "CIPPUS_EMBEDDINGS_REQUESTS": 8, "CIPPUS_EMBEDDINGS_INPUTS": 32, "CIPPUS_LLM_REQUESTS": 8,
        "CIPPUS_LLM_STORED": "off", "CIPPUS_LLM_SUMMARIES": "off", "CIPPUS_LLM_TESTIMONIALS": "off",
        "CIPPUS_LLM_TAGGING": "off", "CIPPUS_LLM_SUMMARY_TOKENS": 3000, "CIPPUS_ALERTS_STALLED_HOURS": 6.0,
    }  # fmt: skip
    shown = {variable.name: variable.default for variable in settings.variables()}
    numbers = {name: value for name, value in found.items() if isinstance(value, int | float)}
    assert {name: float(shown[name]) for name in numbers} == numbers
    assert shown["CIPPUS_REPLICA_LAG_SECONDS"] == "not set"


def test_readers_of_one_setting_return_it(monkeypatch: pytest.MonkeyPatch) -> None:
    assert settings.stalled_hours() == 6.0
    assert settings.clock_skew_seconds() == 60
    assert settings.old_transaction_seconds() == 3600.0
    assert settings.ceiling_usd() == Decimal(1)
    assert settings.log_format() is LogFormat.TEXT
    assert settings.environment() is Environment.LOCAL
    assert settings.dagster_home() is None
    monkeypatch.setenv("DAGSTER_HOME", "/opt/dagster")
    assert settings.dagster_home() == Path("/opt/dagster")
    monkeypatch.setenv("CIPPUS_LOG_FORMAT", "json")
    assert settings.log_format() is LogFormat.JSON


def test_values_that_are_kept_cannot_be_changed() -> None:
    with pytest.raises(ValidationError, match="frozen"):
        S3Settings.read().depth = 3


def test_names_have_upper_case_and_blanks_count_as_not_set(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("cippus_s3_depth", "3")
    assert S3Settings.read().depth == 2
    monkeypatch.setenv("CIPPUS_S3_DEPTH", "")
    assert S3Settings.read().depth == 2


def test_the_first_bad_value_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CIPPUS_S3_DEPTH", "-1")
    monkeypatch.setenv("CIPPUS_S3_DEADLINE", "0")
    with pytest.raises(InputError, match=r"^CIPPUS_S3_DEPTH is -1; it must be a number of path segments\.$"):
        S3Settings.read()
    monkeypatch.setenv("CIPPUS_BUCKETS", "")
    with pytest.raises(InputError, match=r"^CIPPUS_BUCKETS is ''; it must be a power of two\.$"):
        settings.bucket_count()


@pytest.mark.parametrize(("name", "refused", "taken"), [
    ("CIPPUS_ALERTS_STALLED_HOURS", "0", "0.1"),
    ("CIPPUS_S3_DEPTH", "-1", "0"),
    ("CIPPUS_S3_DEADLINE", "0", "0.1"),
    ("CIPPUS_LAKE_RETENTION_HOURS", "0", "1"),
    ("CIPPUS_STATEMENT_TIMEOUT_SECONDS", "-1", "0"),
    ("CIPPUS_EMBEDDINGS_REQUESTS", "0", "1"),
    ("CIPPUS_EMBEDDINGS_INPUTS", "0", "1"),
    ("CIPPUS_LLM_REQUESTS", "0", "1"),
    ("CIPPUS_LLM_SUMMARY_TOKENS", "199", "200"),
    ("CIPPUS_LLM_SUMMARY_TOKENS", "100001", "100000"),
    ("CIPPUS_SPEND_CEILING_USD", "-0.01", "0"),
])  # fmt: skip
def test_the_ends_of_a_range(monkeypatch: pytest.MonkeyPatch, name: str, refused: str, taken: str) -> None:
    monkeypatch.setenv(name, taken)
    assert float(str(_by_name()[name])) == float(taken)
    monkeypatch.setenv(name, refused)
    with pytest.raises(InputError, match=f"^{name} is {refused}; it must be a "):
        _by_name()


def test_the_language_of_summaries_is_a_code_or_blank(monkeypatch: pytest.MonkeyPatch) -> None:
    for taken in ("", "en"):
        monkeypatch.setenv("CIPPUS_LLM_SUMMARY_LANGUAGE", taken)
        assert LlmSettings.read().summary_language == taken
    for refused in ("eng", "EN", "e", "x en"):
        monkeypatch.setenv("CIPPUS_LLM_SUMMARY_LANGUAGE", refused)
        with pytest.raises(InputError, match="it must be a code of two lower-case letters"):
            LlmSettings.read()


@pytest.mark.parametrize(
    ("env", "given", "count"),
    [("local", None, 8), ("test", None, 8), ("production", None, 64), ("production", "1", 1), ("local", "2", 2)],
)
def test_account_buckets(monkeypatch: pytest.MonkeyPatch, env: str, given: str | None, count: int) -> None:
    monkeypatch.setenv("CIPPUS_ENV", env)
    if given:
        monkeypatch.setenv("CIPPUS_BUCKETS", given)
    assert settings.bucket_count() == count


@pytest.mark.parametrize("given", ["0", "-1", "-4", "3", "12", "many"])
def test_a_number_of_buckets_is_a_power_of_two(monkeypatch: pytest.MonkeyPatch, given: str) -> None:
    monkeypatch.setenv("CIPPUS_BUCKETS", given)
    with pytest.raises(InputError, match=rf"^CIPPUS_BUCKETS is {given}; it must be a power of two\.$"):
        settings.bucket_count()


def test_a_home_that_cannot_be_written_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CIPPUS_HOME", str(tmp_path / "own"))
    assert settings.writable_home() == tmp_path / "own"
    assert (tmp_path / "own" / "run.lock").exists()
    (tmp_path / "file").touch()
    monkeypatch.setenv("CIPPUS_HOME", str(tmp_path / "file" / "home"))
    with pytest.raises(InputError, match=r"file/home; it must be a folder that can be written: Not a directory\.$"):
        settings.writable_home()
