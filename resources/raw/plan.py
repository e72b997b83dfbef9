"""Read a window in parts, so that a crash in a first load of days costs one part."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from resources.delta.table import fingerprint
from resources.raw.writer import WindowFile
from resources.s3.client import S3Resource
from resources.sources.protocol import KeyRange


@dataclass(frozen=True)
class Plan:
    """The bounds of a divided window and the key ranges of its parts. A retry after a crash reads the same parts."""

    lower: str | None
    upper: str
    bucket_count: int
    source_columns: Mapping[str, str]
    ranges: tuple[KeyRange, ...]

    @classmethod
    def from_json(cls, value: dict[str, Any]) -> "Plan":
        """Parse the JSON object that ``asdict`` gave."""
        return cls(**{**value, "ranges": tuple(KeyRange(**found) for found in value["ranges"])})


@dataclass(frozen=True)
class Part:
    """One finished part: its files, and the key of the digests of rows that the next window reads again."""

    files: tuple[WindowFile, ...]
    digests: str = ""


@dataclass(frozen=True)
class DividedWindow:
    """A plan and the records of its parts, in one folder. Two runs may work on it at once; each part counts once."""

    s3: S3Resource
    folder: str
    plan: Plan

    @classmethod
    def begin(cls, s3: S3Resource, folder: str, proposed: Plan) -> "DividedWindow":
        """Store the proposed plan, or load the plan that was stored first for these columns and buckets."""
        contract = fingerprint([str(proposed.bucket_count), *map(str, sorted(proposed.source_columns.items()))])
        at = f"{folder}/plan-{contract}"
        if s3.put_json(f"{at}/plan.json", asdict(proposed), if_absent=True):
            return cls(s3, at, proposed)
        return cls(s3, at, Plan.from_json(s3.get_json(f"{at}/plan.json")))

    def parts(self) -> dict[int, Part]:
        """Return number → finished part; one read each."""
        listed = self.s3.list_objects(f"{self.folder}/done-")
        numbers = sorted(int(item.key.rpartition("/done-")[2].removesuffix(".json")) for item in listed)
        return {number: self._read(number) for number in numbers}

    def record(self, number: int, part: Part) -> Part:
        """Record a part as finished. Return the recorded part, which may be that of a faster run."""
        is_first = self.s3.put_json(self._key(number), asdict(part), if_absent=True)
        return part if is_first else self._read(number)

    def discard(self) -> None:
        """Delete the plan and its parts."""
        # Delete the plan last: without it a retry would not find the parts.
        keys = [item.key for item in self.s3.list_objects(f"{self.folder}/")]
        self.s3.delete(sorted(keys, key=lambda key: key.endswith("/plan.json")))

    def _key(self, number: int) -> str:
        return f"{self.folder}/done-{number:06d}.json"

    def _read(self, number: int) -> Part:
        value = self.s3.get_json(self._key(number))
        return Part(tuple(WindowFile(**file) for file in value["files"]), value["digests"])
