"""The overlay of prices: what providers charge, their batch lanes, rented GPUs. Reads and validates `prices.yaml`."""

import datetime as dt
from collections.abc import Iterable
from decimal import Decimal
from functools import cache
from pathlib import Path
from typing import Annotated

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from resources.catalogues import CatalogueError, SafeLoader

PRICES_PATH = Path(__file__).with_name("prices.yaml")
MEASURED = "measured with"
"""How the source of a speed begins that `cippus measure llm` wrote."""
_Usd = Annotated[Decimal, Field(ge=0, allow_inf_nan=False)]
_Text = Annotated[str, Field(min_length=1)]


class _Entry(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", coerce_numbers_to_str=False)


class BatchLane(_Entry):
    """A provider's batch API: its share of the live price, and its limits a batch."""

    multiplier: Annotated[Decimal, Field(gt=0, le=1)]
    requests: Annotated[int, Field(gt=0)]
    megabytes: Annotated[int, Field(gt=0)]
    hours: Annotated[int, Field(gt=0)]
    coverage: _Text
    source: _Text
    date: dt.date


class Provider(_Entry):
    """A company that serves models, and the hosts of its API."""

    id: _Text
    name: _Text
    hosts: tuple[str, ...] = ()
    batch: BatchLane | None = None


class Rate(_Entry):
    """The price of a model at a provider, in USD per million tokens, from the start of a day (UTC)."""

    provider: _Text
    model: _Text
    family: str = ""
    input: _Usd
    output: _Usd
    batch_input: _Usd | None = None
    batch_output: _Usd | None = None
    context: Annotated[int, Field(gt=0)] | None = None
    retired: str = ""
    start: Annotated[dt.date | None, Field(alias="from")] = None
    source: _Text
    date: dt.date

    def in_force(self, at: dt.datetime) -> bool:
        """Return whether this price applies at a time, unless a later one does."""
        return self.start is None or self.start <= at.date()


class Family(_Entry):
    """The same weights at different providers, with a published score."""

    id: _Text
    size: str
    mmlu: Decimal | None
    source: _Text


class Gpu(_Entry):
    """A rented machine for self-hosted models."""

    id: _Text
    gpu: _Text
    usd_per_hour: Annotated[Decimal, Field(gt=0)]
    source: _Text
    date: dt.date


class Speed(_Entry):
    """How fast a machine serves a model that you run: tokens per second read (prefill) and written (decode)."""

    gpu: _Text
    family: _Text
    prefill: Annotated[Decimal, Field(gt=0)]
    decode: Annotated[Decimal, Field(gt=0)]
    context: Annotated[int, Field(gt=0)] | None = None
    source: _Text
    date: dt.date


class Service(_Entry):
    """The price of something that is no model: memory, storage, requests."""

    id: _Text
    name: _Text
    usd: _Usd
    unit: _Text
    source: _Text
    date: dt.date


class PriceFile(_Entry):
    """The contents of a price file."""

    providers: tuple[Provider, ...] = ()
    models: tuple[Rate, ...] = ()
    families: tuple[Family, ...] = ()
    gpus: tuple[Gpu, ...] = ()
    speeds: tuple[Speed, ...] = ()
    services: tuple[Service, ...] = ()


@cache
def load_prices() -> PriceFile:
    """Return the overlay of this project. Raise CatalogueError if the file is invalid."""
    return read_prices(PRICES_PATH)


def read_prices(path: Path) -> PriceFile:
    """Return the prices of a file. Raise CatalogueError for a file that is missing or invalid; it names the entry."""
    try:
        # Numbers stay text until Decimal reads them: 0.1 has no exact float.
        found = yaml.load(path.read_text(encoding="utf-8"), Loader=_TextNumbers)  # noqa: S506 -- a SafeLoader
    except OSError as error:
        raise CatalogueError(
            f"The price file {path} cannot be read: {error.strerror}. Correct CIPPUS_PRICES."
        ) from None
    except yaml.YAMLError as error:
        raise CatalogueError(f"{path.name} is not YAML. Correct its syntax: {error}") from error
    try:
        prices = PriceFile.model_validate(found or {})
    except ValidationError as error:
        first = error.errors()[0]
        where = " ".join(str(part) for part in first["loc"]) or "the file"
        raise CatalogueError(f"{path.name}, {where}: {first['msg']}. It is {first['input']!r}.") from None
    _refuse_repeated(path, "provider", (provider.id for provider in prices.providers))
    _refuse_repeated(path, "GPU", (gpu.id for gpu in prices.gpus))
    _refuse_repeated(path, "speed", (f"{speed.gpu} {speed.family}" for speed in prices.speeds))
    _refuse_repeated(path, "service", (service.id for service in prices.services))
    _refuse_repeated(path, "price", (f"{r.provider} {r.model} {r.start or ''}".strip() for r in prices.models))
    return prices


def save_speed(path: Path, gpu: Gpu, speed: Speed) -> None:
    """Write a machine and its speed into a price file, in place of what it had of them. Its comments are not kept.

    Raises CatalogueError for a file that is invalid.
    """
    found = read_prices(path) if path.exists() else PriceFile()
    gpus = {each.id: each for each in (*found.gpus, gpu)}
    speeds = {(each.gpu, each.family): each for each in (*found.speeds, speed)}
    changed = found.model_copy(update={"gpus": tuple(gpus.values()), "speeds": tuple(speeds.values())})
    content = changed.model_dump(mode="json", by_alias=True, exclude_defaults=True)
    try:
        path.write_text(yaml.safe_dump(content, sort_keys=False, allow_unicode=True), encoding="utf-8")
    except OSError as error:
        raise CatalogueError(f"The price file {path} cannot be written: {error.strerror}.") from None


class _TextNumbers(SafeLoader):  # type: ignore[misc,valid-type]
    """YAML whose decimal numbers stay text."""


def _text(_: yaml.SafeLoader, node: yaml.ScalarNode) -> str:
    return str(node.value)


_TextNumbers.add_constructor("tag:yaml.org,2002:float", _text)


def _refuse_repeated(path: Path, kind: str, names: Iterable[str]) -> None:
    seen: set[str] = set()
    for name in names:
        if name in seen:
            raise CatalogueError(f"{path.name} has more than one {kind} {name}. Keep one.")
        seen.add(name)
