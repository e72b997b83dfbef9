"""What the server limits and which faults it makes: plain values, changeable while it runs."""

from dataclasses import asdict, dataclass, field, fields, replace
from typing import Any, Literal, TypeVar

BucketKind = Literal["token_bucket", "fixed_window"]
DeleteRule = Literal["debt", "keys"]


class SettingsError(ValueError):
    """A setting that the server does not know or cannot follow."""


@dataclass(frozen=True)
class Limits:
    """Requests a second permitted under each prefix: (bucket, first ``depth`` segments of the key's folder).

    None as a rate means no limit; None as the depth means the whole folder, however deep. ``burst_seconds`` is what a
    token bucket holds when full, and the length of a fixed window. A multi-delete takes a write per key: with "debt" it
    is let in while a token is left and the rest is owed; with "keys" the keys without a token answer SlowDown each.
    """

    writes_per_second: float | None = None
    reads_per_second: float | None = None
    depth: int | None = 1
    burst_seconds: float = 0.25
    kind: BucketKind = "token_bucket"
    deletes: DeleteRule = "debt"


@dataclass(frozen=True)
class Faults:
    """Shares of the admitted object requests that go wrong, each between 0 and 1, drawn from one seeded generator.

    500s come before and after applying in equal parts; resets before reading, after applying, and in the middle of an
    answer's body (where there is none, after applying). ``error_in_200`` is of copies and multipart completions,
    ``key_slow_downs`` of the keys of a multi-delete; neither is applied then.
    """

    errors: float = 0.0
    resets: float = 0.0
    slow: float = 0.0
    slow_seconds: float = 3.0
    error_in_200: float = 0.0
    key_slow_downs: float = 0.0


@dataclass(frozen=True)
class Settings:
    """All that can be changed while the server runs."""

    limits: Limits = field(default_factory=Limits)
    faults: Faults = field(default_factory=Faults)

    def merged(self, change: dict[str, Any]) -> "Settings":
        """These settings with those of a JSON object ``{"limits": {…}, "faults": {…}}``; raises SettingsError."""
        unknown = set(change) - {"limits", "faults"}
        if unknown:
            message = f"Unknown settings {sorted(unknown)}: expected limits and faults."
            raise SettingsError(message)
        limits = _changed(self.limits, change.get("limits", {}))
        faults = _changed(self.faults, change.get("faults", {}))
        _check(limits, faults)
        return Settings(limits, faults)

    def to_json(self) -> dict[str, Any]:
        """The settings as a JSON object."""
        return asdict(self)


T = TypeVar("T", "Limits", "Faults")


def _changed(value: T, change: dict[str, Any]) -> T:
    known = [item.name for item in fields(value)]
    unknown = set(change) - set(known)
    if unknown:
        message = f"Unknown settings {sorted(unknown)}: expected some of {known}."
        raise SettingsError(message)
    return replace(value, **change)


def _check(limits: Limits, faults: Faults) -> None:
    for name, rate in (("writes_per_second", limits.writes_per_second), ("reads_per_second", limits.reads_per_second)):
        if rate is not None and rate <= 0:
            message = f"{name} is {rate}: expected a number above 0, or null for no limit."
            raise SettingsError(message)
    if limits.kind not in ("token_bucket", "fixed_window") or limits.deletes not in ("debt", "keys"):
        message = (
            f"kind {limits.kind!r}, deletes {limits.deletes!r}: expected token_bucket or fixed_window, debt or keys."
        )
        raise SettingsError(message)
    if limits.depth is not None and limits.depth < 0:
        message = f"depth is {limits.depth}: expected 0 or more, or null for any depth."
        raise SettingsError(message)
    for item in fields(faults):
        value = getattr(faults, item.name)
        if value < 0 or (value > 1 and item.name != "slow_seconds"):
            message = f"{item.name} is {value}: expected a share between 0 and 1 (slow_seconds: 0 or more)."
            raise SettingsError(message)
