"""The weights and the vocabulary of multilingual-e5-small, from a file of 4-bit weights."""

import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from resources.errors import PermanentFailure
from resources.models.bert_graph import QUANTIZED_BLOCK, Architecture, Weights, arrange_weights
from resources.models.unigram import Vocabulary

ARCHITECTURE, MAX_POSITIONS = Architecture("multilingual_e5_small", layers=12), 512
_INNER = 4 * ARCHITECTURE.hidden
_MAGIC, _VERSION = b"E5S1", 1
_SIZES = (ARCHITECTURE.hidden, ARCHITECTURE.layers, ARCHITECTURE.heads, _INNER)
_FOUR_BITS = 1
# A block of 32 weights: a scale, and numbers from 0 to 15, of which weight i is in the low half of byte i, and weight
# i + 16 in its high half. A weight is (number - 8) · scale. Two bytes are read as one number.
_BLOCK = np.dtype([("scale", "<f2"), ("pairs", "<u2", 8)])
_ZERO_POINT = 8
_PART = 4096
"""Blocks that are read at a time."""
# Name in the file → name in a checkpoint, and the length of a row of a matrix.
_TENSORS = {"q": "attention.self.query", "k": "attention.self.key", "v": "attention.self.value"} | {
    "ao": "attention.output.dense",
    "fi": "intermediate.dense",
    "fo": "output.dense",
}
_NORMS = {"aln": "attention.output.LayerNorm", "oln": "output.LayerNorm"}


class PackedE5:
    """The file: numbers of its sizes, the vocabulary with its scores, characters to replace, then named tensors."""

    def __init__(self, path: Path) -> None:
        """Read the vocabulary and the places of the tensors; their bytes stay in the file."""
        self._content = np.memmap(path, dtype=np.uint8, mode="r")
        magic, version, hidden, layers, heads, inner = self._numbers("<4s5i", 0)
        if (magic, version, hidden, layers, heads, inner) != (_MAGIC, _VERSION, *_SIZES):
            raise PermanentFailure(f"{path} is no multilingual-e5-small in 4 bits.")
        count, opening, closing, _, unknown, text_bytes = self._numbers("<5iQ", 44)
        starts = self._array("<u4", 72, count + 1).astype(np.int32)
        scores = self._array("<f4", 72 + 4 * (count + 1), count).tolist()
        at = 72 + 4 * (2 * count + 1)
        text = pa.py_buffer(self._content[at : at + text_bytes])
        pieces = pa.StringArray.from_buffers(count, pa.py_buffer(starts), text)
        self.vocabulary = Vocabulary(pieces.to_pylist(), scores, opening, closing, unknown)
        _, replaced_bytes = self._numbers("<iI", at + text_bytes)
        self._tensors = self._directory(at + text_bytes + 8 + replaced_bytes)

    def tensor(self, name: str) -> NDArray[np.uint8]:
        """Return the bytes of a tensor."""
        return self._tensors[name][1]

    def weights(self) -> Weights:
        """Return the graph's weights: matrices of float32, and the words as they are, in 4 bits."""
        return {**self._words(), **arrange_weights(self.checkpoint(), ARCHITECTURE, MAX_POSITIONS)}

    def words(self) -> NDArray[np.float32]:
        """Return the words' embeddings, (vocabulary, hidden)."""
        return dequantized(self._blocks("emb.word")).reshape(-1, ARCHITECTURE.hidden)

    def checkpoint(self) -> dict[str, NDArray[np.float32]]:
        """Return the tensors of a BERT checkpoint but the words' embeddings, which take 384 MB."""
        checkpoint = {
            "embeddings.position_embeddings.weight": self._floats("emb.pos").reshape(-1, ARCHITECTURE.hidden),
            "embeddings.token_type_embeddings.weight": self._floats("emb.type").reshape(-1, ARCHITECTURE.hidden),
            "embeddings.LayerNorm.weight": self._floats("emb.ln.w"),
            "embeddings.LayerNorm.bias": self._floats("emb.ln.b"),
        }
        for layer in range(ARCHITECTURE.layers):
            for here, name in {**_TENSORS, **_NORMS}.items():
                target = f"encoder.layer.{layer}.{name}"
                checkpoint[f"{target}.bias"] = self._floats(f"l{layer}.{here}.b")
                weight = f"l{layer}.{here}.w"
                if here in _NORMS:
                    checkpoint[f"{target}.weight"] = self._floats(weight)
                else:
                    row = _INNER if here == "fo" else ARCHITECTURE.hidden
                    checkpoint[f"{target}.weight"] = dequantized(self._blocks(weight)).reshape(-1, row)
        return checkpoint

    def _words(self) -> Weights:
        blocks = self._blocks("emb.word")
        return {
            "words_quantized": in_order(blocks["pairs"]).reshape(-1, ARCHITECTURE.hidden // 2),
            "words_scales": blocks["scale"].astype(np.float32).reshape(-1, ARCHITECTURE.hidden // QUANTIZED_BLOCK),
        }

    def _directory(self, at: int) -> dict[str, tuple[int, NDArray[np.uint8]]]:
        """Return name → (type, bytes) of the tensors."""
        [count] = self._numbers("<i", at)
        at, found = at + 4, {}
        for _ in range(count):
            [length] = self._numbers("<H", at)
            name = self._content[at + 2 : at + 2 + length].tobytes().decode()
            kind, _, start, size = self._numbers("<BIQQ", at + 2 + length)
            found[name] = (kind, self._content[start : start + size])
            at += 2 + length + struct.calcsize("<BIQQ")
        return found

    def _floats(self, name: str) -> NDArray[np.float32]:
        return np.asarray(self.tensor(name).view("<f4"))

    def _blocks(self, name: str) -> NDArray[Any]:
        kind, content = self._tensors[name]
        if kind != _FOUR_BITS:
            raise PermanentFailure(f"The tensor {name} has type {kind}, expected {_FOUR_BITS}: 4-bit weights.")
        return np.asarray(content).view(_BLOCK)

    def _numbers(self, form: str, at: int) -> tuple[Any, ...]:
        return struct.unpack(form, self._content[at : at + struct.calcsize(form)].tobytes())

    def _array(self, form: str, at: int, count: int) -> NDArray[Any]:
        return np.frombuffer(self._content, form, count, at)


def dequantized(blocks: NDArray[Any]) -> NDArray[np.float32]:
    """Return the weights of blocks, float32 (blocks, 32)."""
    weights = np.empty((len(blocks), QUANTIZED_BLOCK), np.float32)
    for part in _parts(len(blocks)):
        numbers, found = in_order(blocks["pairs"][part]), weights[part]
        found[:, ::2], found[:, 1::2] = numbers & 0xF, numbers >> 4
        found -= _ZERO_POINT
        found *= blocks["scale"][part].astype(np.float32)[:, None]
    return weights


def in_order(pairs: NDArray[np.uint16]) -> NDArray[np.uint8]:
    """Return the numbers of blocks in the order of their weights, the earlier one in the low half: (blocks, 16)."""
    numbers = np.empty((len(pairs), QUANTIZED_BLOCK // 2), np.uint8)
    for part in _parts(len(pairs)):
        together = np.ascontiguousarray(pairs[part])
        halves = [(half & 0xF) | ((half >> 4) & 0xF0) for half in (together, together >> 4)]
        # The eight bytes of a half are copied as one number, which takes a seventh of the time.
        numbers[part] = np.hstack([half.astype(np.uint8).view(np.uint64) for half in halves]).view(np.uint8)
    return numbers


def _parts(count: int) -> Iterator[slice]:
    """Yield slices of blocks, few enough that what is computed from them stays in the processor's cache."""
    return (slice(start, start + _PART) for start in range(0, count, _PART))
