"""The environment's S3: the governor's settings come from variables, and what cannot be used is one sentence."""

import re
from pathlib import Path
from typing import get_args

import pytest

from resources import wiring
from resources.errors import InputError
from resources.s3.governor import process
from resources.s3.options import GovernorConfig
from resources.settings import QdrantSettings, go_without_governor, is_governed, variables
from resources.sources.postgres import PostgresResource
from resources.sources.redshift import RedshiftResource
from resources.vectors.generations import QUANTIZATIONS
from resources.wiring import s3_resource


@pytest.fixture(autouse=True)
def _bare(monkeypatch: pytest.MonkeyPatch, home: Path) -> None:
    """No variable but the home's."""
    for name in {variable.name for variable in variables()} - {"CIPPUS_HOME"}:
        monkeypatch.delenv(name, raising=False)


def test_s3_is_governed_unless_it_is_turned_off(monkeypatch: pytest.MonkeyPatch, home: Path) -> None:
    assert s3_resource().governor == GovernorConfig(home=str(home / "governor"))
    assert is_governed()
    monkeypatch.setenv("CIPPUS_S3_GOVERNOR", "off")
    assert s3_resource().governor is None
    monkeypatch.setenv("CIPPUS_S3_GOVERNOR", "on")
    assert s3_resource().governor is not None
    go_without_governor()
    assert not is_governed()


def test_every_resource_has_the_same_s3(home: Path) -> None:
    found = wiring.resources()
    config = GovernorConfig(home=str(home / "governor"))
    nested = (found.s3, found.lake.s3, found.ledger.s3, found.raw_store.s3, found.quarantine.s3)
    assert all(s3.governor == config for s3 in nested)


def test_variables_reach_the_governor(monkeypatch: pytest.MonkeyPatch, home: Path) -> None:
    given = {
        "CIPPUS_S3_DEPTH": "3",
        "CIPPUS_S3_DEADLINE": "30.5",
        "CIPPUS_S3_MAX_WRITES": "350",
        "CIPPUS_S3_MAX_READS": "550",
        "CIPPUS_S3_EMF": "udp://127.0.0.1:25888",
        "AWS_CA_BUNDLE": "/etc/own.pem",
    }
    for name, value in given.items():
        monkeypatch.setenv(name, value)
    config = s3_resource().governor
    assert config == GovernorConfig(
        home=str(home / "governor"),
        depth=3,
        deadline_seconds=30.5,
        write_ceiling=350.0,
        read_ceiling=550.0,
        emf="udp://127.0.0.1:25888",
        ca_file="/etc/own.pem",
    )
    command = process.command(home, config.settings("https://s3.example"))
    for value in ("3", "30.5", "350.0", "550.0", "udp://127.0.0.1:25888", "/etc/own.pem", "https://s3.example"):
        assert value in command


@pytest.mark.parametrize(
    ("name", "value", "sentence"),
    [
        ("CIPPUS_S3_GOVERNOR", "no", "CIPPUS_S3_GOVERNOR is no; it must be on or off."),
        (
            "CIPPUS_S3_ENDPOINT",
            "http://AKIA:SECRET@host",
            "CIPPUS_S3_ENDPOINT holds credentials or another @, expected a URL of a host alone, "
            "such as https://s3.example.org.",
        ),
        ("CIPPUS_S3_DEPTH", "-1", "CIPPUS_S3_DEPTH is -1; it must be a number of path segments."),
        ("CIPPUS_S3_DEADLINE", "0", "CIPPUS_S3_DEADLINE is 0; it must be a number of seconds above 0."),
        ("CIPPUS_S3_DEADLINE", "inf", "CIPPUS_S3_DEADLINE is inf; it must be a number of seconds above 0."),
        (
            "CIPPUS_S3_MAX_WRITES",
            "many",
            "CIPPUS_S3_MAX_WRITES is many; it must be a number of requests per second.",
        ),
        (
            "CIPPUS_S3_MAX_READS",
            "nan",
            "CIPPUS_S3_MAX_READS is nan; it must be a number of requests per second.",
        ),
    ],
)
def test_what_cannot_be_used_is_one_sentence(
    monkeypatch: pytest.MonkeyPatch, name: str, value: str, sentence: str
) -> None:
    monkeypatch.setenv(name, value)
    with pytest.raises(InputError, match=f"^{re.escape(sentence)}$"):
        s3_resource()


def test_variables_reach_the_sources(monkeypatch: pytest.MonkeyPatch) -> None:
    assert isinstance(wiring.resources().source, PostgresResource)
    assert wiring.resources().rds_exports.location == ""
    given = {
        "CIPPUS_RDS_EXPORTS": "s3://exports/rds",
        "CIPPUS_RDS_EXPORT_DATABASE": "creators",
        "CIPPUS_RDS_EXPORT_OPEN_SECONDS": "60",
        "CIPPUS_SOURCE": "redshift",
        "CIPPUS_REDSHIFT_WORKGROUP": "workgroup",
        "CIPPUS_REDSHIFT_CLUSTER": "cluster",
        "CIPPUS_REDSHIFT_DATABASE": "dev",
        "CIPPUS_REDSHIFT_SCHEMA": "creators",
        "CIPPUS_REDSHIFT_SECRET_ARN": "arn:secret",
        "CIPPUS_REDSHIFT_USER": "reader",
        "CIPPUS_REDSHIFT_UNLOAD_ROLE": "arn:role",
        "CIPPUS_REDSHIFT_LAG_SECONDS": "900",
    }
    for name, value in given.items():
        monkeypatch.setenv(name, value)
    found = wiring.resources()
    exports, source = found.rds_exports, found.source
    assert (exports.location, exports.database, exports.open_transaction_seconds) == (*list(given.values())[:2], 60)
    assert isinstance(source, RedshiftResource)
    named = (source.workgroup, source.cluster, source.database, source.schema_name, source.secret_arn, source.user)
    assert (*named, source.unload_role) == tuple(given.values())[4:11]
    assert source.lag_seconds == 900.0
    assert source.s3.governor == exports.s3.governor == found.s3.governor
    monkeypatch.setenv("CIPPUS_SOURCE", "oracle")
    with pytest.raises(InputError, match=r"^CIPPUS_SOURCE is oracle; it must be postgres or redshift\.$"):
        wiring.resources()


def test_every_variable_is_documented_once() -> None:
    listed = variables()
    assert len({variable.name for variable in listed}) == len(listed) == 75
    assert all(variable.description.endswith(".") for variable in listed)
    by_name = {variable.name: variable for variable in listed}
    assert by_name["CIPPUS_BUCKETS"].default == "8; 64 in production"
    assert by_name["CIPPUS_S3_DEADLINE"].default == "60"
    assert by_name["CIPPUS_ENV"].default == "local"
    assert {name for name, variable in by_name.items() if variable.description.startswith("Secret.")} == {
        "CIPPUS_POSTGRES_DSN", "QDRANT_API_KEY", "CIPPUS_EMBEDDINGS_API_KEY", "CIPPUS_ERASURE_KEY",
        "CIPPUS_LLM_API_KEY", "CIPPUS_ALERTS_WEBHOOK", "CIPPUS_WEB_API_KEY",
    }  # fmt: skip


@pytest.mark.parametrize(
    ("name", "value", "sentence"),
    [
        (
            "CIPPUS_LAKE_RETENTION_HOURS",
            "0",
            "CIPPUS_LAKE_RETENTION_HOURS is 0; it must be a whole number of hours, at least 1.",
        ),
        ("CIPPUS_SPEND_CEILING_USD", "-1", "CIPPUS_SPEND_CEILING_USD is -1; it must be a number of USD, 0 or more."),
        ("CIPPUS_SPEND_CEILING_USD", "nan", "CIPPUS_SPEND_CEILING_USD is nan; it must be a number of USD, 0 or more."),
        ("CIPPUS_LLM_STORED", "yes", "CIPPUS_LLM_STORED is yes; it must be on or off."),
        ("CIPPUS_EMBEDDINGS_REQUESTS", "0", "CIPPUS_EMBEDDINGS_REQUESTS is 0; it must be a number of requests, at"),
        ("CIPPUS_EMBEDDINGS_INPUTS", "0", "CIPPUS_EMBEDDINGS_INPUTS is 0; it must be a number of texts, at least 1."),
        ("CIPPUS_EMBEDDINGS_DIMENSIONS", "-1", "CIPPUS_EMBEDDINGS_DIMENSIONS is -1; it must be a number of dim"),
        ("CIPPUS_QDRANT_QUANTIZATION", "pq", "CIPPUS_QDRANT_QUANTIZATION is pq; it must be none, scalar or turbo."),
        ("CIPPUS_REPLICA_LAG_SECONDS", "a\nb", r"CIPPUS_REPLICA_LAG_SECONDS is 'a\nb'; it must be a number of seconds"),
    ],
)
def test_a_bad_setting_names_its_value(monkeypatch: pytest.MonkeyPatch, name: str, value: str, sentence: str) -> None:
    monkeypatch.setenv(name, value)
    with pytest.raises(InputError, match=f"^{re.escape(sentence)}"):
        wiring.resources()


def test_an_empty_variable_counts_as_not_set(monkeypatch: pytest.MonkeyPatch) -> None:
    for variable in variables():
        if variable.name not in {"CIPPUS_ENV", "CIPPUS_HOME", "CIPPUS_BUCKETS"}:
            monkeypatch.setenv(variable.name, "")
    given = [found.model_dump() for found in wiring.resources()]  # type: ignore[union-attr]
    for variable in variables():
        if variable.name != "CIPPUS_HOME":
            monkeypatch.delenv(variable.name, raising=False)
    assert given == [found.model_dump() for found in wiring.resources()]  # type: ignore[union-attr]


def test_the_settings_quantizations_are_the_index_s() -> None:
    assert get_args(QdrantSettings.model_fields["quantization"].annotation) == QUANTIZATIONS


@pytest.mark.parametrize(
    ("env", "given", "ceiling"), [("local", "", "1"), ("production", "", ""), ("production", "5", "5")]
)
def test_a_ceiling_has_no_default_in_production(
    monkeypatch: pytest.MonkeyPatch, env: str, given: str, ceiling: str
) -> None:
    monkeypatch.setenv("CIPPUS_ENV", env)
    for name in PRODUCTION_NAMES:
        monkeypatch.setenv(name, "set")
    monkeypatch.setenv("CIPPUS_SPEND_CEILING_USD", given)
    found = wiring.resources()
    assert found.spend.ceiling_usd == found.llm.spend.ceiling_usd == ceiling


PRODUCTION_NAMES = ("CIPPUS_S3_BUCKET", "QDRANT_URL", "CIPPUS_POSTGRES_DSN")
OF_REDSHIFT = ("CIPPUS_REDSHIFT_DATABASE", "CIPPUS_REDSHIFT_WORKGROUP", "CIPPUS_REDSHIFT_LAG_SECONDS")


@pytest.mark.parametrize(("given", "unset"), [
    ((), "CIPPUS_S3_BUCKET, QDRANT_URL, CIPPUS_POSTGRES_DSN or CIPPUS_POSTGRES_SECRET_ID"),
    (("CIPPUS_S3_BUCKET",), "QDRANT_URL, CIPPUS_POSTGRES_DSN or CIPPUS_POSTGRES_SECRET_ID"),
    (("CIPPUS_S3_BUCKET", "CIPPUS_POSTGRES_SECRET_ID"), "QDRANT_URL"),
    (("QDRANT_URL", "CIPPUS_POSTGRES_DSN"), "CIPPUS_S3_BUCKET"),
    (("CIPPUS_SOURCE",), "CIPPUS_S3_BUCKET, QDRANT_URL, CIPPUS_REDSHIFT_DATABASE, "
     "CIPPUS_REDSHIFT_WORKGROUP or CIPPUS_REDSHIFT_CLUSTER, CIPPUS_REDSHIFT_LAG_SECONDS"),
    (("CIPPUS_SOURCE", "CIPPUS_S3_BUCKET", "QDRANT_URL", "CIPPUS_REDSHIFT_CLUSTER"),
     "CIPPUS_REDSHIFT_DATABASE, CIPPUS_REDSHIFT_LAG_SECONDS"),
])  # fmt: skip
def test_production_lists_every_variable_that_it_lacks(
    monkeypatch: pytest.MonkeyPatch, given: tuple[str, ...], unset: str
) -> None:
    for name in given:
        monkeypatch.setenv(name, "redshift" if name == "CIPPUS_SOURCE" else "set")
    monkeypatch.setenv("CIPPUS_ENV", "test")
    assert wiring.resources()
    monkeypatch.setenv("CIPPUS_ENV", "production")
    sentence = f"CIPPUS_ENV is production, where these variables must be set: {unset}."
    with pytest.raises(InputError, match=f"^{re.escape(sentence)}$"):
        wiring.resources()


@pytest.mark.parametrize("names", [PRODUCTION_NAMES, ("CIPPUS_SOURCE", *PRODUCTION_NAMES[:2], *OF_REDSHIFT)])
def test_production_has_all_that_it_needs(monkeypatch: pytest.MonkeyPatch, names: tuple[str, ...]) -> None:
    monkeypatch.setenv("CIPPUS_ENV", "production")
    for name in names:
        monkeypatch.setenv(name, {"CIPPUS_SOURCE": "redshift", "CIPPUS_REDSHIFT_LAG_SECONDS": "60"}.get(name, "set"))
    assert wiring.resources().s3.bucket == "set"
