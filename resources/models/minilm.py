"""The weights of all-MiniLM-L6-v2, from a safetensors file."""

import json
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from resources.models.bert_graph import Architecture, Weights, arrange_weights

ARCHITECTURE, MAX_POSITIONS = Architecture("all_MiniLM_L6_v2", layers=6), 256


def minilm_weights(path: Path) -> Weights:
    """Return the graph's weights from a safetensors file. Raises KeyError when a tensor is missing."""
    checkpoint = read_safetensors(path)
    weights = arrange_weights(checkpoint, ARCHITECTURE, MAX_POSITIONS)
    return {"words": checkpoint["embeddings.word_embeddings.weight"], **weights}


def read_safetensors(path: Path) -> dict[str, NDArray[np.float32]]:
    """Return the float32 tensors of a safetensors file, as read-only views of it.

    The format: 8 bytes header length, little-endian; a JSON header of dtype, shape and byte range; the data.
    """
    content = np.memmap(path, dtype=np.uint8, mode="r")
    header_end = 8 + int.from_bytes(content[:8].tobytes(), "little")
    header = json.loads(content[8:header_end].tobytes())
    tensors = {}
    for name, entry in header.items():
        if entry.get("dtype") == "F32":
            start, end = entry["data_offsets"]
            data = content[header_end + start : header_end + end]
            tensors[name] = np.asarray(data.view(np.float32).reshape(entry["shape"]))
    return tensors
