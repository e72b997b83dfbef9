"""The folder of a generation in Qdrant Edge: its shard, payload indexes and metadata file."""

import json
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import qdrant_edge as edge

from resources.vectors.generations import Generation, IndexConfig
from resources.vectors.index import PAYLOAD_INDEXES, IndexKind
from resources.vectors.values import DENSE, SPARSE, CollectionMissingError, VectorIndexError

METADATA_FILE = "generation.json"
_QUANTIZATIONS: "Mapping[str, Callable[[], Any]]" = {
    "none": lambda: None,
    "scalar": lambda: edge.ScalarQuantizationConfig(edge.ScalarType.Int8, quantile=0.99),
    "turbo": edge.TurboQuantQuantizationConfig,
}

# Quoted: the alias exists in the stubs alone.
_SCHEMAS: "Mapping[IndexKind, Callable[[], edge.PayloadSchemaParams]]" = {
    "tenant": lambda: edge.KeywordIndexParams(is_tenant=True),
    "keyword": edge.KeywordIndexParams,
    "integer": lambda: edge.IntegerIndexParams(lookup=True, range=False),
    "datetime": edge.DatetimeIndexParams,
}


@contextmanager
def engine_errors() -> Iterator[None]:
    """Convert errors of Edge, which raises bare Exceptions and TypeError, to VectorIndexError."""
    try:
        yield
    except VectorIndexError:
        raise
    except BaseException as error:
        if not is_of_engine(error):
            raise
        raise VectorIndexError(f"Qdrant Edge: {error}") from error


def is_of_engine(error: BaseException) -> bool:
    """Return whether Edge failed, and was not interrupted. A panic in Rust is no Exception and cannot be imported."""
    return isinstance(error, Exception) or type(error).__name__ == "PanicException"


@engine_errors()
def create_shard(folder: Path, index_config: IndexConfig) -> None:
    """Create an empty shard with its payload indexes."""
    vectors = edge.EdgeVectorParams(
        size=index_config.dimension,
        distance=edge.Distance.Cosine,
        quantization_config=_QUANTIZATIONS[index_config.quantization](),
    )
    sparse = {SPARSE: edge.EdgeSparseVectorParams()}
    config = edge.EdgeConfig(vectors={DENSE: vectors}, sparse_vectors=sparse, wal_enabled=True)
    shard = edge.EdgeShard.create(str(folder), config)
    create_payload_indexes(shard)
    shard.close()


def create_payload_indexes(shard: edge.EdgeShard) -> None:
    """Index the payload fields that filters use."""
    for name, kind in PAYLOAD_INDEXES.items():
        shard.update(edge.UpdateOperation.create_field_index(name, _SCHEMAS[kind]()))


def read_metadata(folder: Path) -> Generation:
    """Read a generation's metadata. Raise CollectionMissingError without a folder, VectorIndexError when damaged."""
    if not folder.exists():
        raise CollectionMissingError(f"There is no collection in {folder} yet.")
    try:
        return Generation.from_json(folder.name, json.loads((folder / METADATA_FILE).read_text()))
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise VectorIndexError(
            f"{folder} has no readable {METADATA_FILE}. Move it away and the next run builds it again."
        ) from error


def write_metadata(folder: Path, generation: Generation) -> None:
    """Replace a generation's metadata atomically."""
    temporary = folder / f"{METADATA_FILE}.tmp"
    temporary.write_text(json.dumps(generation.to_json()))
    temporary.replace(folder / METADATA_FILE)
