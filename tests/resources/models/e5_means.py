"""Computes what the vectors of all texts have in common: `python -m tests.resources.models.e5_means` writes it."""

import json
from pathlib import Path

import numpy as np
import yaml
from numpy.typing import NDArray

from pipelines.samples.texts import load_phrasebook
from resources.models.embedder import MEANS, E5Model

_EVERYDAY = Path(__file__).parent / "fixtures" / "everyday_posts.yaml"
_EVERY_PHRASE = 7
"""Of the English phrases of the samples, each seventh: as many as there are posts in other languages."""


def computed(model: E5Model) -> dict[str, NDArray[np.float32]]:
    """Return prefix → mean vector: half of it everyday posts in 30 languages, half phrases of the sample creators."""
    book = load_phrasebook()
    phrases = [line for vertical in book.verticals.values() for line in (*vertical.lines, *vertical.details)]
    kinds = [yaml.safe_load(_EVERYDAY.read_text(encoding="utf-8")), phrases[::_EVERY_PHRASE]]
    return {
        prefix: np.mean([model.whole_vectors(texts, prefix).mean(axis=0) for texts in kinds], axis=0)
        for prefix in (model.query_prefix, model.passage_prefix)
    }


if __name__ == "__main__":
    means = computed(E5Model(threads=1))
    found = {prefix: [round(float(number), 5) for number in mean] for prefix, mean in means.items()}
    MEANS.write_text(f"{json.dumps(found)}\n", encoding="utf-8")
