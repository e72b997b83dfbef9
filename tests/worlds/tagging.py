"""Posts in one bucket that a local method is sure or unsure of, and a language model at a fake provider that tags."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import polars as pl

from assets.framework.incremental import RunMetrics
from assets.labels.gold import GOLD
from assets.transforms.verticals.taggers.calibration import Calibration
from assets.transforms.verticals.taggers.interface import Tagger
from assets.transforms.verticals.taggers.methods import packed, packed_arrays
from assets.transforms.verticals.taggers.zero_shot import ZERO_SHOT, ZeroShotTagger
from assets.verticals.examples import describe
from assets.verticals.model_tags import MODEL_TAGS, model_tags
from assets.verticals.taggers import TAGGERS
from assets.verticals.thresholds import THRESHOLDS
from resources.catalogues import load_verticals
from tests.fakes.spend_store import START
from tests.worlds.summaries import SummaryWorld

NAMES = [vertical.name for vertical in load_verticals()]
SURE, UNSURE = -9.0, 0.0
"""Logit of every probability of the local method."""


def names_in_post(body: Mapping[str, Any]) -> str:
    """Answer as an honest model: the verticals whose names are words of the post."""
    words = json.loads(body["messages"][1]["content"])["post"].split()
    return json.dumps({"verticals": [name for name in NAMES if name in words]})


@dataclass
class TaggingWorld(SummaryWorld):
    """The world of summaries, with a tagger that says the same of every post."""

    def __post_init__(self) -> None:
        super().__post_init__()
        self.say = names_in_post
        self.teach(UNSURE)

    def teach(self, logit: float) -> None:
        """Have the local method say this of every post and vertical."""
        curves = Calibration.default(np.zeros(len(NAMES)), np.full(len(NAMES), logit))
        self.fit({ZERO_SHOT: ZeroShotTagger(curves)}, str(logit))
        self.choose(ZERO_SHOT)

    def fit(self, taggers: Mapping[str, Tagger], version: str = "1") -> None:
        """Have these methods as they were fitted."""
        vectors = packed_arrays(describe(load_verticals(), self.embedder))
        rows = [{"method": name, "posts": 0, "version": version, "made_of_texts": [], "parameters": packed(tagger),
                 "descriptions": vectors}
                for name, tagger in taggers.items()]  # fmt: skip
        self.lake.sync(TAGGERS, pl.DataFrame(rows, schema=TAGGERS.polars_schema))

    def choose(self, method: str) -> None:
        """Have this method tag posts of the first vertical."""
        row = {"item_kind": "post", "vertical": NAMES[0], "method": method, "threshold": 0.5, "fitted": True}
        self.lake.sync(THRESHOLDS, pl.DataFrame([row], schema=THRESHOLDS.polars_schema))

    def label(self, labels: Mapping[str, bool], vertical: str) -> None:
        """Have people say of each post whether it is of a vertical."""
        rows = [
            {"account_bucket": 0, "item_kind": "post", "item_id": post, "account_id": post.partition("/")[0],
             "vertical": vertical, "is_member": is_member, "labelled_at": START} for post, is_member in labels.items()
        ]  # fmt: skip
        self.lake.sync(GOLD, pl.concat([GOLD.empty(), pl.DataFrame(rows)], how="diagonal_relaxed"), 0)

    def tag(self, mode: str = "uncertain", **settings: Any) -> RunMetrics:
        """Materialize the tags of the language model."""
        return self.materialize(model_tags, tagging=mode, **settings)

    def tagged(self) -> dict[str, dict[str, Any]]:
        return {row["post_id"]: row for row in self.lake.scan(MODEL_TAGS, 0).collect().iter_rows(named=True)}
