"""A window that is read in parts, so that a crash in a first load of days costs one part and not all."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from resources.delta.table import fingerprint
from resources.raw.writer import WindowFile
from resources.s3.client import S3Resource
from resources.sources.protocol import KeyRange


@dataclass(frozen=True)
class Plan:
    """The bounds of a divided window and the ranges of its parts: whoever goes on after a crash reads the same."""

    lower: str | None
    upper: str
    bucket_count: int
    source_columns: Mapping[str, str]
    ranges: tuple[KeyRange, ...]

    def to_json(self) -> dict[str, Any]:
        """The plan as JSON values."""
        return asdict(self)

    @classmethod
    def from_json(cls, value: dict[str, Any]) -> "Plan":
        """The reverse of ``to_json``."""
        return cls(**{**value, "ranges": tuple(KeyRange(**found) for found in value["ranges"])})


@dataclass(frozen=True)
class Part:
    """What became of one part: its files, and the key of the digests of its rows that the next window reads again."""

    files: tuple[WindowFile, ...]
    digests: str = ""


@dataclass(frozen=True)
class DividedWindow:
    """A plan and the records of its parts, in one folder. Two runs may work on it at once: a part counts once."""

    s3: S3Resource
    folder: str
    plan: Plan

    @classmethod
    def begin(cls, s3: S3Resource, folder: str, proposed: Plan) -> "DividedWindow":
        """The plan that was stored first for these columns and buckets; it may be the proposed one."""
        contract = fingerprint([str(proposed.bucket_count), *map(str, sorted(proposed.source_columns.items()))])
        at = f"{folder}/plan-{contract}"
        if s3.put_json(f"{at}/plan.json", proposed.to_json(), if_absent=True):
            return cls(s3, at, proposed)
        return cls(s3, at, Plan.from_json(s3.get_json(f"{at}/plan.json")))

    def parts(self) -> dict[int, Part]:
        """Number → the parts that are done; one read each."""
        listed = self.s3.list_objects(f"{self.folder}/done-")
        return {number: self._read(number) for number in sorted(_number(item.key) for item in listed)}

    def record(self, number: int, part: Part) -> Part:
        """Make a part count; returns the one that does, which another run may have been first with."""
        value = {"files": [asdict(file) for file in part.files], "digests": part.digests}
        is_first = self.s3.put_json(self._key(number), value, if_absent=True)
        return part if is_first else self._read(number)

    def discard(self) -> None:
        """Forget the plan and its parts: nothing came of them."""
        # The plan last: without it nobody would find the parts.
        keys = [item.key for item in self.s3.list_objects(f"{self.folder}/")]
        self.s3.delete(sorted(keys, key=lambda key: key.endswith("/plan.json")))

    def _key(self, number: int) -> str:
        return f"{self.folder}/done-{number:06d}.json"

    def _read(self, number: int) -> Part:
        value = self.s3.get_json(self._key(number))
        return Part(tuple(WindowFile(**file) for file in value["files"]), value["digests"])


def _number(key: str) -> int:
    return int(key.rpartition("/done-")[2].removesuffix(".json"))
