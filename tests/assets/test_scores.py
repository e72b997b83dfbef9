"""Which methods score posts: the standing ones always, a candidate only while it tags."""

import numpy as np

from assets.transforms.verticals.taggers.calibration import Calibration
from assets.transforms.verticals.taggers.contrastive import Contrastive
from assets.transforms.verticals.taggers.interface import Posts
from assets.transforms.verticals.taggers.zero_shot import ZERO_SHOT, ZeroShotTagger
from assets.verticals.scores import SCORES, scores, scoring_methods
from resources.delta.table import LakeResource
from tests.worlds.tagging import NAMES, TaggingWorld


def test_a_candidate_scores_posts_only_while_it_tags(lake: LakeResource) -> None:
    world, draw = TaggingWorld(lake), np.random.default_rng(0)
    world.write({"anna": ("All about food", "The weather is grey")})
    vectors = draw.normal(size=(60, world.embedder.dimension)).astype(np.float32)
    posts = Posts(vectors, np.zeros((60, len(NAMES))), np.full(60, "en"))
    labels = np.full((60, len(NAMES)), np.nan)
    labels[:, 0] = vectors[:, 0] > 0
    candidate = Contrastive().fit(posts, labels, np.arange(60).astype(np.str_))
    curves = Calibration.default(np.zeros(len(NAMES)), np.zeros(len(NAMES)))
    world.fit({ZERO_SHOT: ZeroShotTagger(curves), "contrastive": candidate})

    def methods() -> list[str]:
        world.materialize(scores)
        rows = lake.scan(SCORES).filter(item_kind="post").collect()
        assert rows.height == 2 * rows["method"].n_unique()
        return sorted(rows["method"].unique())

    assert methods() == scoring_methods(lake) == [ZERO_SHOT]
    world.choose("contrastive")
    assert methods() == scoring_methods(lake) == ["contrastive", ZERO_SHOT]
    first = lake.scan(SCORES).filter(item_kind="post", method="contrastive").collect()["scores"].list.first()
    assert first.is_between(0, 1).all()
    world.choose(ZERO_SHOT)
    assert methods() == [ZERO_SHOT]
