"""Deletion of points: from every generation, and from the logs and segments of the engine."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace

from assets.corpus import CHUNKS
from assets.qdrant.points import PointWriter
from resources.erasure.tombstones import POST, Subject
from resources.vectors.bm25 import SPARSE_ENCODING
from resources.vectors.generations import READERS, Generation, Generations
from resources.vectors.resource import QdrantResource
from resources.vectors.values import IndexPoint, VectorIndexError


def every_point(generations: Generations) -> Iterator[tuple[str, IndexPoint]]:
    """Yield (generation, point) of every generation, and of the copy that readers have."""
    for generation in generations.all():
        for point in generations.open(generation).scroll_points():
            yield generation.name, point
    for point in generations.readers_points():
        yield READERS, point


def delete_points(generations: Generations, subject: Subject) -> int:
    """Delete the account's points from every generation, the previous one included. Return their number.

    Reads all points: damage may have put one into another account's bucket.
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
    if owner:  # the post may have moved to another account since
        return bool(owner == subject.account_id)
    return isinstance(post, str) and subject.owns((POST,), post)


def erase_points(
    qdrant: QdrantResource,
    subject: Subject,
    writer: PointWriter,
    buckets: Sequence[int],
    forget: Callable[[Generation], None],
) -> dict[str, int]:
    """Delete the account's points, what they left in files, and snapshots. Return kind → number of what was deleted.

    A server rewrites its segments and logs, which costs what changed; where it cannot, and in an embedded engine, a new
    generation takes the place of all others. The folder of an embedded engine that a server replaced is deleted.
    """
    with qdrant.generations() as generations:
        counts = {"points": delete_points(generations, subject), "snapshots": generations.delete_snapshots()}
        if not all(generations.purge(generation) for generation in generations.all()):
            counts["generations"] = rebuild(generations, writer, buckets, forget)
    return {**counts, "unused_folders": int(qdrant.drop_unused_folder())}


def rebuild(
    generations: Generations, writer: PointWriter, buckets: Sequence[int], forget: Callable[[Generation], None]
) -> int:
    """Build and promote a new generation from the lake and its vectors, then drop all others. Return their number.

    An embedded engine keeps deleted payloads in its log and in freed blocks of its segments, so only new files are
    free of them. Nothing is embedded. The previous generation is dropped too, and so is one that is being built: the
    next run builds it again. After a crash the old or the new generation is served, and the next attempt builds
    another. Raise VectorIndexError if another model made the vectors of the served generation.
    """
    serving = generations.serving()
    if serving is not None:
        serving = _rebuilt(generations, serving, writer, buckets)
    others = [found for found in generations.all() if serving is None or found.number != serving.number]
    for generation in others:
        generations.drop(generation)
        forget(generation)
    return len(others)


def _rebuilt(generations: Generations, serving: Generation, writer: PointWriter, buckets: Sequence[int]) -> Generation:
    if serving.index_config.model != writer.model.name:
        raise VectorIndexError(
            f"{serving.name} is served and its vectors are of {serving.index_config.model}, but the encoder is "
            f"{writer.model.name}. Set the encoder back or run the lineage, then erase again."
        )
    built = generations.create(replace(serving.index_config, sparse=SPARSE_ENCODING))
    index = generations.open(built)
    for bucket in buckets:
        writer.write(index, bucket, writer.desired(bucket))
    index.optimize()
    points, chunks = index.count(), sum(contents.rows for contents in writer.lake.contents(CHUNKS).values())
    if points != chunks:
        raise VectorIndexError(
            f"{built.name} has {points:,} points for {chunks:,} chunks and is not promoted. Erase again."
        )
    generations.promote(built)
    return built
