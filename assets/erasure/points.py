"""Erasing points: out of every generation, and in the embedded engine out of its log and segments too."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace

from assets.corpus import CHUNKS
from assets.qdrant.points import PointWriter
from resources.erasure.tombstones import Subject
from resources.vectors.bm25 import SPARSE_ENCODING
from resources.vectors.generations import Generation, Generations
from resources.vectors.values import IndexPoint, VectorIndexError


def every_point(generations: Generations) -> Iterator[tuple[str, IndexPoint]]:
    """(generation, point) of all of them."""
    for generation in generations.all():
        for point in generations.open(generation).scroll_points():
            yield generation.name, point


def delete_points(generations: Generations, subject: Subject) -> int:
    """Delete the account's points from every generation, the one for rollback too. Returns how many.

    Reads all points: one that damage left in another bucket is the account's too.
    """
    deleted = 0
    for generation in generations.all():
        index = generations.open(generation)
        ids = [point.id for point in index.scroll_points() if _is_owned(point, subject)]
        index.delete(ids)
        deleted += len(ids)
    return deleted


def _is_owned(point: IndexPoint, subject: Subject) -> bool:
    owner, post = (point.payload.get(name) for name in ("account_id", "post_id"))
    if owner:  # a post that another account has now is that one's
        return bool(owner == subject.account_id)
    return isinstance(post, str) and bool(subject.owned("post_id", [post]))


def build_anew(
    generations: Generations,
    writer: PointWriter,
    buckets: Sequence[int],
    forget: Callable[[Generation], None],
) -> int:
    """Serve a new generation made of the lake and its vectors, and drop all others; returns how many.

    An embedded engine keeps deleted payloads in its log and in freed blocks of its segments: only other files are
    sure not to hold them. Nothing is embedded. The generation for rollback goes as well, and so does one that waits,
    which the next run builds anew. Killed anywhere, the old one or the new one is served, and the next attempt
    builds another. Raises VectorIndexError when the served generation's vectors are another model's.
    """
    serving = generations.serving()
    if serving is not None:
        if serving.index_config.model != writer.model.name:
            message = (
                f"{serving.name} is served and holds vectors of {serving.index_config.model}, but the encoder is "
                f"{writer.model.name}: set it back, or run the lineage, then erase again."
            )
            raise VectorIndexError(message)
        made = generations.create(replace(serving.index_config, sparse=SPARSE_ENCODING))
        index = generations.open(made)
        for bucket in buckets:
            desired = writer.desired(bucket)
            writer.write(index, desired, desired.ids, lambda _done, _of: None)
        index.optimize()
        points, chunks = index.count(), sum(held.rows for held in writer.lake.contents(CHUNKS).values())
        if points != chunks:
            message = f"{made.name} holds {points:,} points for {chunks:,} chunks and is not served: erase again."
            raise VectorIndexError(message)
        generations.promote(made)
        serving = made
    others = [one for one in generations.all() if serving is None or one.number != serving.number]
    for one in others:
        generations.drop(one)
        forget(one)
    return len(others)
