"""Points like those of the lineage, for benches of the index: seeded centres, a dozen terms, the payload."""

import uuid

import numpy as np
from numpy.typing import NDArray

from assets.transforms.search.points import DIGEST, payload_digest
from resources.vectors.values import IndexPoint, SparseVector

DIMENSION, CLUSTERS = 384, 2_000
SEED = 20_260_702
_NOISE = 0.6
"""Distance from a cluster's centre: neighbours within a cluster differ, and clusters touch."""


def block_of_points(number: int, count: int) -> list[IndexPoint]:
    """Return points around seeded centres, with a dozen terms and the lineage's payload."""
    random = np.random.default_rng((SEED, number))
    dense = vectors(random, count)
    points = []
    for row in range(count):
        post = f"post-{number}-{row}"
        terms = np.unique(random.zipf(1.3, 12).astype(np.uint64) % 2**31).astype(np.uint32)
        payload = {
            "post_id": post,
            "chunk_no": 0,
            "account_id": f"account-{random.integers(0, 2_000)}",
            "account_bucket": int(random.integers(0, 8)),
            "handle": f"creator{random.integers(0, 2_000)}",
            "network": "youtube",
            "language": "en",
            "country": "US",
            "text": " ".join(f"word{term}" for term in terms),
            "content_hash": uuid.uuid5(uuid.NAMESPACE_URL, post).hex,
            "posted_at": "2024-05-01T12:00:00+00:00",
            "verticals": ["food"],
            "post_verticals": [],
        }
        sparse = SparseVector(terms, np.ones(len(terms), np.float32))
        payload[DIGEST] = payload_digest(payload)
        points.append(IndexPoint(str(uuid.uuid5(uuid.NAMESPACE_OID, post)), dense[row], sparse, payload))
    return points


def vectors(random: np.random.Generator, count: int) -> NDArray[np.float32]:
    """Return unit vectors near seeded centres."""
    centres = np.random.default_rng(SEED).normal(size=(CLUSTERS, DIMENSION)).astype(np.float32)
    noise = random.normal(size=(count, DIMENSION)).astype(np.float32) * _NOISE
    near = centres[random.integers(0, CLUSTERS, count)] + noise
    return np.asarray(near / np.linalg.norm(near, axis=1, keepdims=True), np.float32)
