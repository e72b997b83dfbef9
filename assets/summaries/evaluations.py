"""What `cippus evaluate summaries --save` measured: one object on S3 with the newest figures of each method and model.

It holds figures alone: no text, and no id of what was reviewed.
"""

import json
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from assets.transforms.summaries.evaluation import Evaluation
from resources.spend.store import Store, change

FOLDER = "evaluations/"
_KEY = f"{FOLDER}summaries.json"


def keep(store: Store, found: Sequence[Evaluation]) -> None:
    """Store evaluations in place of older ones of the same method and model. When this returns they are on S3."""

    def changed(body: bytes | None) -> bytes:
        rows = {(row["method"], row["model"]): row for row in _rows(body)}
        rows |= {(row.method, row.model): asdict(row) for row in found}
        return json.dumps([rows[key] for key in sorted(rows)], indent=1).encode()

    change(store, _KEY, changed)


def kept(store: Store) -> list[Evaluation]:
    """Return the stored evaluations, by method and model."""
    found = store.get(_KEY)
    return [Evaluation(**row) for row in _rows(None if found is None else found.body)]


def _rows(body: bytes | None) -> list[dict[str, Any]]:
    return [] if body is None else list(json.loads(body))
