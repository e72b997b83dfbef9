"""What an erasure needs from start to end. It is checked first, because an erasure cannot be undone halfway."""

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from assets.stages import WRITTEN
from resources.erasure import tombstones
from resources.errors import CippusError, PermanentFailure, as_cippus_error
from resources.s3 import access
from resources.vectors.generations import Generation

if TYPE_CHECKING:
    from assets.erasure.erase import Erasing

_SPARE_BYTES = 64 << 20


class MissingNeedError(PermanentFailure):
    """Something that the erasure needs is missing; nothing was erased."""


def require_needs(parts: "Erasing") -> None:
    """Raise MissingNeedError, in one sentence, if the erasure could not end: of S3, index, encoder or disk."""
    missing = [reason.rstrip(".") for need in (_of_s3, _of_index, _of_disk) for reason in need(parts)]
    if missing:
        message = f"Nothing was erased, because the erasure could not end: {'; '.join(missing)}."
        raise MissingNeedError(message)


def _of_s3(parts: "Erasing") -> Iterator[str]:
    bucket = parts.s3.bucket
    try:
        client = parts.s3.client  # starts the request governor
        refused = access.refusals(client, bucket, (*WRITTEN, tombstones.PREFIX))
        refused += access.refusals_of_bucket(client, bucket)
    except Exception as error:
        failure = as_cippus_error(error)
        if failure is None:
            raise
        yield f"S3 cannot be used: {failure}"
        return
    if refused:
        yield f"S3 refuses in {bucket}: {', '.join(refused)}; give the role pipelines/deploy/iam-policy.json"


def _of_index(parts: "Erasing") -> Iterator[str]:
    try:
        with parts.qdrant.generations() as generations:
            generations.all()
            generations.require_rights()
            serving = generations.serving()
    except CippusError as error:
        yield str(error)
        return
    yield from _of_encoder(parts, serving)


def _of_encoder(parts: "Erasing", serving: Generation | None) -> Iterator[str]:
    try:
        model = parts.embedder.model()
        if parts.embedder.endpoint_url:
            model.embed_all(["cippus"])
    except CippusError as error:
        yield str(error)
        return
    if serving is not None and serving.index_config.model != model.name:
        yield (
            f"{serving.name} is served and its vectors are of {serving.index_config.model}, but the encoder is "
            f"{model.name}; set the encoder back, or run the lineage first"
        )


def _of_disk(parts: "Erasing") -> Iterator[str]:
    """The embedded index is written anew before the old one is deleted, and so is each volume of the embedded S3."""
    if parts.home is None:
        return
    index = sum(_bytes(path) for path in (parts.home / "qdrant").rglob("*"))
    volume = max(map(_bytes, (parts.home / "s3").rglob("*.dat")), default=0)
    needed, free = index + volume + _SPARE_BYTES, shutil.disk_usage(parts.home).free
    if free < needed:
        yield f"{parts.home} has {free:,} bytes free and the erasure needs {needed:,}; free some disk space"


def _bytes(path: Path) -> int:
    try:
        found = path.lstat()
    except FileNotFoundError:  # deleted by its server meanwhile
        return 0
    return found.st_blocks * 512  # a file of the index may be sparse
