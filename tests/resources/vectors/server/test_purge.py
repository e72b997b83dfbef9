"""When a purge has ended, whatever others write to the collection meanwhile. tests/cluster/ looks into real files."""

from dataclasses import dataclass, field

import pytest
from qdrant_client import QdrantClient, models

from resources.vectors.server.calls import RETRY, QdrantCalls
from resources.vectors.server.purge import Purge, Segment, Stored, Telemetry
from resources.vectors.values import VectorIndexError

IDLE: frozenset[str] = frozenset()
CLEAN, LITTERED, SMALL = Segment(1_000, 0, "clean"), Segment(1_000, 3, "littered"), Segment(50, 3, "small")
OF_OTHERS = Segment(1_000, 9, "written meanwhile")


@dataclass(frozen=True)
class Answers(Telemetry):
    """Gives the answers one after the other, and the last one for ever."""

    answers: list[Stored] = field(default_factory=list)

    def stored(self, collection: str) -> Stored:
        return self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]


def ended(before: Stored, *answers: Stored, seconds: float = 60.0) -> bool:
    client = QdrantClient(":memory:")
    calls = QdrantCalls("memory", "posts", RETRY)
    return Purge(
        client, calls, "posts", Answers(["http://127.0.0.1"], "", list(answers)), seconds, poll_seconds=0.0
    )._wait(before)


def stored(*segments: Segment, optimisations: frozenset[str] = IDLE) -> Stored:
    return Stored(segments, optimisations)


def test_points_that_others_delete_meanwhile_are_not_waited_for() -> None:
    assert ended(stored(CLEAN, LITTERED), stored(CLEAN, LITTERED, OF_OTHERS), stored(CLEAN, OF_OTHERS))


def test_a_segment_that_is_not_rewritten_is_one_sentence() -> None:
    with pytest.raises(VectorIndexError, match=r"posts at memory still has 1 segments with deleted points after 0 s"):
        ended(stored(LITTERED), stored(CLEAN, LITTERED, OF_OTHERS), seconds=0.0)


def test_a_segment_too_small_to_be_rewritten_needs_a_new_generation() -> None:
    assert not ended(stored(LITTERED, SMALL), stored(LITTERED, SMALL), stored(SMALL, CLEAN))
    assert ended(stored(LITTERED), stored(SMALL, CLEAN))


def test_what_an_optimisation_made_that_was_under_way_is_waited_for() -> None:
    """It had copied points that were deleted before it ended; telemetry does not say so until then."""
    under_way = frozenset(["node-1 shard 0 indexing 12:00"])
    made = Segment(1_000, 3, "made")
    with pytest.raises(VectorIndexError, match="still has 1 optimisations from before"):
        ended(stored(CLEAN, optimisations=under_way), stored(CLEAN, optimisations=under_way), seconds=0.0)
    answers = stored(CLEAN, optimisations=under_way), stored(CLEAN), stored(made), stored(made), stored(SMALL)
    assert ended(stored(CLEAN, optimisations=under_way), *answers)
    assert not ended(stored(CLEAN, optimisations=under_way), stored(CLEAN), stored(SMALL))


def test_a_server_that_does_not_name_segments_must_have_none_with_deleted_points() -> None:
    nameless = Segment(1_000, 3)
    assert ended(stored(nameless), stored(nameless), stored(Segment(1_000, 0)))
    with pytest.raises(VectorIndexError, match="still has 1 segments"):
        ended(stored(nameless), stored(nameless), seconds=0.0)


def test_touching_points_leaves_them_as_they_are() -> None:
    client = QdrantClient(":memory:")
    client.create_collection("posts", vectors_config=models.VectorParams(size=2, distance=models.Distance.COSINE))
    client.upsert("posts", [models.PointStruct(id=n, vector=[1.0, 0.0], payload={"text": f"{n}"}) for n in (1, 2)])
    before, _ = client.scroll("posts", with_vectors=True)
    Purge(client, QdrantCalls("memory", "posts", RETRY), "posts", Answers([], ""))._write_past(1, 1)
    assert client.scroll("posts", with_vectors=True)[0] == before
