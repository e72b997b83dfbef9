"""What cosines mean, by encoder."""

import pytest

from assets.transforms.search.cosines import SCALES, CosineScale, scale_of
from resources.models.embedder import E5Model, MiniLmModel

EVERY = pytest.mark.parametrize("scale", SCALES.values(), ids=SCALES)


def test_every_encoder_has_its_own_scale() -> None:
    centred, whole, minilm = SCALES.values()
    assert scale_of(MiniLmModel.name) is minilm
    assert scale_of(E5Model.name) is centred
    assert scale_of("intfloat/multilingual-e5-small/3f1c77aa") is whole
    assert scale_of("text-embedding-3-small") is minilm


@EVERY
def test_a_text_fits_by_meaning_or_by_words_of_a_similar_meaning(scale: CosineScale) -> None:
    near, alike, covered = scale.near, scale.alike, scale.covered
    assert scale.fits(near, 0.0)
    assert scale.fits(alike, covered)
    assert not scale.fits(near - 0.01, covered - 0.01)
    assert not scale.fits(alike - 0.01, 1.0)


@EVERY
def test_relevance_means_the_same_for_every_encoder(scale: CosineScale) -> None:
    """A text that fits is relevant more often, whatever the range of the cosines; words and meaning add up."""
    assert scale.relevance(None, 0.0) < 0.05
    assert 0.2 < scale.relevance(scale.alike, 0.0) < 0.5
    assert 0.35 < scale.relevance(scale.near, 0.0) < scale.ceiling
    assert scale.relevance(scale.alike, 0.0) < scale.relevance(scale.alike, 0.5) < scale.relevance(scale.near, 0.5)
    assert scale.alike < scale.supported <= scale.same
    assert scale.score(0.5, 0.5) > scale.score(0.5, 0.4)
