"""Limits and faults of the server: plain values that can change while it runs."""

from dataclasses import asdict, dataclass, field, fields, replace
from typing import Any


class SettingsError(ValueError):
    """A limit or fault is unknown or out of range."""


@dataclass(frozen=True)
class Limits:
    """Requests per second under each prefix: (bucket, first ``depth`` segments of the key's folder).

    None as a rate means no limit; None as the depth means the whole folder. ``burst_seconds`` is the capacity of a
    token bucket. A multi-delete takes a token per key: it is accepted while one token is left, and owes the rest.
    """

    writes_per_second: float | None = None
    reads_per_second: float | None = None
    depth: int | None = 1
    burst_seconds: float = 0.25


@dataclass(frozen=True)
class Faults:
    """Shares of the accepted object requests that fail, each between 0 and 1, drawn from a seeded generator.

    Half of the 500s come before the request is applied, half after. Resets come before reading, after applying, or in
    the middle of a response. ``error_in_200`` is the share of copies and multipart completions that return an error in
    a 200, ``key_slow_downs`` the share of a multi-delete's keys that are refused with SlowDown.
    """

    errors: float = 0.0
    resets: float = 0.0
    slow: float = 0.0
    slow_seconds: float = 3.0
    error_in_200: float = 0.0
    key_slow_downs: float = 0.0


@dataclass(frozen=True)
class Settings:
    """Everything that can change while the server runs."""

    limits: Limits = field(default_factory=Limits)
    faults: Faults = field(default_factory=Faults)

    def merged(self, change: dict[str, Any]) -> "Settings":
        """Return these settings with those of ``{"limits": {…}, "faults": {…}}``. Raises SettingsError."""
        if unknown := set(change) - {"limits", "faults"}:
            raise SettingsError(f"Unknown settings {sorted(unknown)}: expected limits and faults.")
        try:
            found = Settings(
                replace(self.limits, **change.get("limits", {})), replace(self.faults, **change.get("faults", {}))
            )
        except TypeError as error:
            raise SettingsError(f"{error}: expected a field of Limits or Faults") from None
        for rate in (found.limits.writes_per_second, found.limits.reads_per_second):
            if rate is not None and rate <= 0:
                raise SettingsError(f"The rate is {rate}: expected a number above 0, or null for no limit.")
        for item in fields(found.faults):
            value = getattr(found.faults, item.name)
            if value < 0 or (value > 1 and item.name != "slow_seconds"):
                raise SettingsError(f"{item.name} is {value}: expected a share between 0 and 1.")
        return found

    def to_json(self) -> dict[str, Any]:
        """Return the settings as a JSON object."""
        return asdict(self)
