"""Settings of the environment, the home folder and account buckets."""

from enum import StrEnum
from pathlib import Path
from typing import Annotated

from pydantic import AfterValidator
from pydantic_settings import SettingsConfigDict

from resources.environment_variables import Settings, variable
from resources.errors import InputError
from resources.local_stack import private_home


class Environment(StrEnum):
    """Where Cippus runs; `CIPPUS_ENV` selects it."""

    LOCAL = "local"
    TEST = "test"
    PRODUCTION = "production"


class LogFormat(StrEnum):
    """How a run logs; `CIPPUS_LOG_FORMAT` selects it."""

    TEXT = "text"
    JSON = "json"


def _power_of_two(number: int) -> int:
    if number < 1 or number.bit_count() != 1:
        raise ValueError(number)
    return number


class GeneralSettings(Settings):
    """Environment, home folder and account buckets."""

    model_config = SettingsConfigDict(env_ignore_empty=False)

    environment: Environment = variable(
        "CIPPUS_ENV",
        "Where Cippus runs: `local`, `test` or `production`.",
        Environment.LOCAL,
        must_be="local, test or production",
    )
    home: Path = variable(
        "CIPPUS_HOME", "Folder of the embedded stack's data and of the local Dagster instance.", Path(".cippus")
    )
    verticals: Path | None = variable(
        "CIPPUS_VERTICALS",
        "Catalogue of verticals, a YAML file: descriptions, bars, overrides of the roster.",
        None,
        shown="the packaged one",
    )
    dagster_home: Path | None = variable(
        "DAGSTER_HOME",
        "Folder of the deployed Dagster instance's `dagster.yaml`, which `cippus doctor` reads in production.",
        None,
        must_be="a folder",
        shown="not set",
    )
    buckets: Annotated[int, AfterValidator(_power_of_two)] | None = variable(
        "CIPPUS_BUCKETS",
        "Number of account buckets, a power of two.",
        None,
        must_be="a power of two",
        shown="8; 64 in production",
    )


class LogSettings(Settings):
    """How a run logs."""

    log_format: LogFormat = variable(
        "CIPPUS_LOG_FORMAT",
        "`json`: assets also write each message as a line of JSON to stderr, with run, asset and bucket.",
        LogFormat.TEXT,
        must_be="text or json",
    )


def environment() -> Environment:
    """Return the environment that `CIPPUS_ENV` names. Raise InputError for an unknown name."""
    return GeneralSettings.read().environment


def log_format() -> LogFormat:
    """Return the format of a run's logs. Raise InputError for an unknown one."""
    return LogSettings.read().log_format


def home() -> Path:
    """Return the folder of this machine's Cippus data, as an absolute path. Raise InputError for an unknown user's.

    ``~`` is a user's own folder also where no shell has replaced it, as in a container's settings.
    """
    path = GeneralSettings.read().home
    try:
        return path.expanduser().resolve()
    except RuntimeError:
        raise InputError(f"CIPPUS_HOME is {path}; no home folder is known for {path.parts[0]}.") from None


def dagster_home() -> Path | None:
    """Return the folder of the deployed Dagster instance, None where none is set."""
    return GeneralSettings.read().dagster_home


def writable_home() -> Path:
    """Return the home folder; create it if it is missing. Raise InputError when it cannot be written."""
    path = home()
    try:
        private_home(path)
        (path / "run.lock").touch()
    except OSError as error:
        raise InputError(f"CIPPUS_HOME is {path}; it must be a folder that can be written: {error.strerror}.") from None
    return path


def bucket_count() -> int:
    """Return the number of account buckets. Raise InputError unless it is a power of two."""
    settings = GeneralSettings.read()
    return settings.buckets or (64 if settings.environment is Environment.PRODUCTION else 8)
