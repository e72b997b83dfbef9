"""Environment variables as typed settings: pydantic-settings, with one sentence for a bad value."""

import os
from collections.abc import Mapping
from functools import cache, lru_cache
from typing import Any, ClassVar, NamedTuple, Self, TypeVar

from pydantic import Field, ValidationError
from pydantic.config import JsonDict
from pydantic_settings import BaseSettings, SettingsConfigDict

from resources.errors import InputError


class Variable(NamedTuple):
    """One environment variable, as the documentation shows it."""

    name: str
    description: str
    default: str


def variable(name: str, description: str, default: Any = "", *, must_be: str = "text", shown: str = "") -> Any:
    """Return the field of a variable. ``shown`` is the default in words; ``must_be`` ends the error of a bad value."""
    extra: JsonDict = {"must_be": must_be, "shown": shown or ("not set" if default == 0.0 else str(default))}
    return Field(default, validation_alias=name, description=description, json_schema_extra=extra)


class Settings(BaseSettings):
    """One area of settings. An empty variable counts as not set."""

    model_config = SettingsConfigDict(frozen=True, case_sensitive=True, env_ignore_empty=True, validate_default=False)
    SECRETS: ClassVar[Mapping[str, str]] = {}

    @classmethod
    def read(cls) -> Self:
        """Return the settings of this process' environment. Raise InputError for the first bad value.

        Reading takes milliseconds, and a run asks for its settings in every stage and bucket. So what was made of equal
        values is kept.
        """
        found: Self = _made(cls, tuple(os.environ.get(name) for name in _names(cls)))
        return found

    @classmethod
    def _read(cls) -> Self:
        try:
            return cls()
        except ValidationError as error:
            found = error.errors()[0]
            value, extra = str(found["input"]), _extra_by_name(cls)[str(found["loc"][0])]
            shown = value if value and value.isprintable() else repr(value)
            message = f"{found['loc'][0]} is {shown}; it must be {extra['must_be']}."
            raise InputError(message) from None

    @classmethod
    def variables(cls) -> list[Variable]:
        """Return the variables of this area, secrets last."""
        extra = _extra_by_name(cls)
        listed = [
            Variable(str(field.validation_alias), field.description or "", extra[str(field.validation_alias)]["shown"])
            for field in cls.model_fields.values()
        ]
        return listed + [Variable(name, f"Secret. {description}", "") for name, description in cls.SECRETS.items()]


T = TypeVar("T", bound=Settings)


@lru_cache(maxsize=64)
def _made(area: type[T], _values: tuple[str | None, ...]) -> T:
    return area._read()


@cache
def _names(area: type[Settings]) -> tuple[str, ...]:
    return tuple(str(field.validation_alias) for field in area.model_fields.values())


def _extra_by_name(area: type[Settings]) -> dict[str, Any]:
    return {str(field.validation_alias): field.json_schema_extra for field in area.model_fields.values()}
