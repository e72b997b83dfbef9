"""How a fault of the catalogue is declared."""

from collections.abc import Iterator
from dataclasses import dataclass

from tests.worlds.faults import Fault

MOJIBAKE = "Ã© â€™"


@dataclass(frozen=True)
class FaultRow:
    """One fault. ``check`` is ``asset:name`` of the check that must fire."""

    name: str
    inject: Fault
    check: str

    @property
    def stage(self) -> str:
        """The group of the asset whose data is bad."""
        return self.check.partition("/")[0]


def rows(check: str, **faults: Fault) -> Iterator[FaultRow]:
    return (FaultRow(name.replace("_", " "), inject, check) for name, inject in faults.items())
