"""A sensor's cursor as JSON."""

from typing import Self

from pydantic import TypeAdapter, ValidationError


class Cursor:
    """Base of the cursors, which are frozen dataclasses with a default for every field."""

    @classmethod
    def read(cls, cursor: str | None) -> Self:
        """Parse a cursor. Without a readable cursor, start anew."""
        try:
            return TypeAdapter(cls).validate_json(cursor or "")
        except ValidationError:
            return cls()

    def written(self) -> str:
        """Return the cursor to store."""
        return TypeAdapter(type(self)).dump_json(self).decode()
