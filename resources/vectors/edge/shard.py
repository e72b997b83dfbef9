"""A generation's folder in Qdrant Edge: an empty shard with its payload indexes, and what it says of itself."""

import json
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import qdrant_edge as edge

from resources.vectors.generations import Generation, Recipe
from resources.vectors.protocol import PAYLOAD_INDEXES, IndexKind
from resources.vectors.values import DENSE, SPARSE, VectorIndexError

BIRTH_FILE = "generation.json"
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
    "ordered": lambda: edge.IntegerIndexParams(lookup=False, range=True),
    "datetime": edge.DatetimeIndexParams,
}


@contextmanager
def engine_errors() -> Iterator[None]:
    """Edge raises bare Exceptions (and TypeError for values that are not JSON): give them the interface's type."""
    try:
        yield
    except VectorIndexError:
        raise
    except BaseException as error:
        if not is_of_engine(error):
            raise
        message = f"Qdrant Edge: {error}"
        raise VectorIndexError(message) from error


def is_of_engine(error: BaseException) -> bool:
    """Whether a call failed, and was not interrupted: a panic in Rust is no Exception, and has no class to import."""
    return isinstance(error, Exception) or type(error).__name__ == "PanicException"


def create_shard(folder: Path, recipe: Recipe) -> None:
    """An empty shard with its payload indexes."""
    vectors = edge.EdgeVectorParams(
        size=recipe.dimension, distance=edge.Distance.Cosine, quantization_config=_QUANTIZATIONS[recipe.quantization]()
    )
    config = edge.EdgeConfig(
        vectors={DENSE: vectors}, sparse_vectors={SPARSE: edge.EdgeSparseVectorParams()}, wal_enabled=True
    )
    with engine_errors():
        shard = edge.EdgeShard.create(str(folder), config)
        create_payload_indexes(shard)
        shard.close()


def create_payload_indexes(shard: edge.EdgeShard) -> None:
    """Index the payload fields that filters use."""
    for name, kind in PAYLOAD_INDEXES.items():
        shard.update(edge.UpdateOperation.create_field_index(name, _SCHEMAS[kind]()))


def read_birth(folder: Path) -> Generation:
    """What a generation's folder says of itself. Raises VectorIndexError when it does not."""
    try:
        return Generation.from_json(folder.name, json.loads((folder / BIRTH_FILE).read_text()))
    except (OSError, ValueError, KeyError, TypeError) as error:
        message = f"{folder} has no readable {BIRTH_FILE}. Move it away and the next run builds it anew."
        raise VectorIndexError(message) from error


def write_birth(folder: Path, born: Generation) -> None:
    """Write it in one step."""
    temporary = folder / f"{BIRTH_FILE}.tmp"
    temporary.write_text(json.dumps(born.to_json()))
    temporary.replace(folder / BIRTH_FILE)
