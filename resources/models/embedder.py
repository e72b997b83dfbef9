"""The interface of embedding models, and the local encoders on onnxruntime, without torch."""

import json
from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from functools import cached_property, lru_cache
from pathlib import Path
from threading import RLock
from typing import Any, ClassVar, Generic, TypeVar

import numpy as np
import onnxruntime as ort
from numpy.typing import NDArray

from resources.models import e5, minilm
from resources.models.bert_graph import Architecture, Weights, bert_model
from resources.models.model_files import E5, MINILM, ModelFiles
from resources.models.tokenizer import TextTokenizer, WordPieceTokenizer, length_batches
from resources.models.unigram import UnigramTokenizer

# Tokens/s of 800 posts on 2 cores: 512: 14,600; 1,024: 14,100; 4,096: 12,100; 16,384: 8,700 (padding, cache misses).
# 1,024 rather than 512, so that machines with more than two cores have work for all.
DEFAULT_BATCH_TOKENS = 1_024
_GPU_BATCH_TOKENS = 65_536  # 256 texts of maximum length; a GPU loses time starting kernels
LEAST_KNOWN = 0.5
"""The part of a text's letters and digits that must be in tokens which the model knows."""
_CUDA = "CUDAExecutionProvider"


MEANS = Path(__file__).with_name("e5_means.json")
"""Prefix → mean of the multilingual encoder's vectors, as tests/resources/models/e5_means.py computes them."""


Tokens = TypeVar("Tokens", bound=TextTokenizer)


class EmbeddingModel(ABC):
    """An embedding model, local or behind an endpoint."""

    name: str
    """Names a generation of vectors: models that give a text other vectors have other names."""

    @property
    @abstractmethod
    def tokenizer(self) -> TextTokenizer:
        """What measures and cuts texts."""

    @property
    def tokenizer_name(self) -> str:
        """The name of ``tokenizer``. Texts that another one cut are cut again."""
        return self.tokenizer.name

    @property
    @abstractmethod
    def dimension(self) -> int:
        """Length of a vector."""

    def open(self) -> None:  # noqa: B027  # there may be nothing to open
        """Open what the first text needs. Without this it is opened then."""

    @abstractmethod
    def embed(self, texts: Sequence[str]) -> Iterator[tuple[list[int], NDArray[np.float32]]]:
        """Yield (indices into ``texts``, their float32 unit vectors) in any order, every index once."""

    def embed_all(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """Return the unit vectors of a few texts, float32 (texts, dimension)."""
        found: dict[int, NDArray[np.float32]] = {}
        for indices, batch in self.embed(texts):
            found.update(zip(indices, batch, strict=True))
        return np.array([found[number] for number in range(len(texts))], np.float32)

    def legible(self, texts: Sequence[str]) -> list[str]:
        """Return what to embed of each text, of the same length: symbols that the model has no token of are spaces."""
        return list(texts)

    def can_read(self, texts: Sequence[str]) -> list[bool]:
        """Return whether the model knows enough of each text. The vector of another would mean nothing."""
        return [True] * len(texts)

    def embed_queries(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """Return the vectors of a few queries, float32 (texts, dimension): unit vectors, or 0 for an unreadable one."""
        found = np.zeros((len(texts), self.dimension), np.float32)
        numbers = [number for number, can_read in enumerate(self.can_read(texts)) if can_read]
        if numbers:
            found[numbers] = self._embed_queries(self.legible([texts[number] for number in numbers]))
        return found

    def _embed_queries(self, texts: Sequence[str]) -> NDArray[np.float32]:
        return self.embed_all(texts)

    @property
    def max_content_tokens(self) -> int:
        """The longest text that is embedded whole, in tokens of ``tokenizer``, without special tokens."""
        return self.tokenizer.chunk_tokens


class LocalModel(EmbeddingModel, Generic[Tokens]):
    """An encoder of this process. Safe to use from several threads.

    Its files are verified and opened at first use: a run in which nothing changed asks for its name alone. That raises
    ModelFilesError when they are missing or differ from the published ones.

    The batch changes a text's vector by up to 1e-6, since sums are ordered differently: compare vectors with a
    tolerance of 1e-5, never by bytes.
    """

    dimension: int = 384
    files: ClassVar[ModelFiles]
    architecture: ClassVar[Architecture]
    query_prefix: str = ""
    """What the model was trained to find before every query, and ``passage_prefix`` before every text of a post."""
    passage_prefix: str = ""

    def __init__(self, threads: int, batch_tokens: int | None = None, folder: Path | None = None) -> None:
        """Open nothing yet. ``folder`` has the files, instead of the installed package."""
        self._threads, self._batch_tokens, self._folder = threads, batch_tokens, folder
        self._opening = RLock()
        self._tokenizer: Tokens | None = None
        self._session: ort.InferenceSession | None = None

    @classmethod
    @abstractmethod
    def open_tokenizer(cls, folder: Path | None = None) -> Tokens:
        """Open the tokenizer alone."""

    @abstractmethod
    def _weights(self) -> Weights:
        """Return the graph's weights."""

    @property
    def tokenizer(self) -> Tokens:
        """The model's own tokenizer."""
        with self._opening:
            self._tokenizer = self._tokenizer or self.open_tokenizer(self._folder)
            return self._tokenizer

    @property
    def session(self) -> ort.InferenceSession:
        """The graph. It runs on a GPU when the installed onnxruntime has a CUDA provider that can be opened."""
        with self._opening:
            if self._session is None:
                weights = self._weights()
                self._session = _open_session(bert_model(self.architecture, weights), weights, self._threads)
            return self._session

    def open(self) -> None:
        """Open the tokenizer and the graph."""
        self.can_read(["word"])
        _ = self.session

    @cached_property
    def _prefixes(self) -> dict[str, list[int]]:
        kinds = (self.query_prefix, self.passage_prefix)
        return {kind: self.tokenizer.token_ids([kind])[0][1:-1].tolist() for kind in kinds}

    @cached_property
    def _most_tokens(self) -> int:
        on_gpu = _CUDA in self.session.get_providers()
        return self._batch_tokens or (_GPU_BATCH_TOKENS if on_gpu else DEFAULT_BATCH_TOKENS)

    def can_read(self, texts: Sequence[str]) -> list[bool]:
        """Return whether at least half of a text's letters and digits are in known tokens."""
        return [share >= LEAST_KNOWN for share in self.tokenizer.known_shares(self.legible(texts))]

    def embed(self, texts: Sequence[str]) -> Iterator[tuple[list[int], NDArray[np.float32]]]:
        """Yield (indices into ``texts``, float32 unit vectors (len(indices), 384)), batch by batch, every index once.

        Batches come longest texts first: texts of one length need no padding (2.4× faster than in the given order),
        so pass thousands at a time. Text beyond the model's length is cut off. Memory: 4 bytes a token of ``texts``.
        """
        yield from self._embed(texts, self.passage_prefix)

    def _embed_queries(self, texts: Sequence[str]) -> NDArray[np.float32]:
        found = np.empty((len(texts), self.dimension), np.float32)
        for indices, vectors in self._embed(texts, self.query_prefix):
            found[indices] = vectors
        return found

    def _embed(self, texts: Sequence[str], prefix: str) -> Iterator[tuple[list[int], NDArray[np.float32]]]:
        for indices, inputs in self.batches(texts, prefix):
            yield indices, self.finished(self.session.run(["vectors"], inputs)[0], prefix)

    def finished(self, vectors: NDArray[np.float32], prefix: str) -> NDArray[np.float32]:
        """Return what is stored of the graph's unit vectors of texts that had a prefix."""
        return vectors

    def batches(self, texts: Sequence[str], prefix: str) -> Iterator[tuple[list[int], dict[str, NDArray[np.int32]]]]:
        """Yield (indices into ``texts``, the graph's inputs)."""
        token_ids = self.tokenizer.token_ids(texts, self._prefixes[prefix])
        lengths = np.array([len(ids) for ids in token_ids], dtype=np.int32)
        for indices in length_batches(lengths, self._most_tokens):
            yield indices, padded_batch([token_ids[index] for index in indices])


class MiniLmModel(LocalModel[WordPieceTokenizer]):
    """all-MiniLM-L6-v2, for English: about 250 MB, 0.3 s to open.

    Within 1e-6 (maximum, absolute) of sentence-transformers.
    """

    name: str = "all-MiniLM-L6-v2@1110a243/legible-1"
    files: ClassVar = MINILM
    architecture: ClassVar = minilm.ARCHITECTURE
    tokenizer_name = WordPieceTokenizer.name

    @classmethod
    def open_tokenizer(cls, folder: Path | None = None) -> WordPieceTokenizer:
        """Open the tokenizer alone."""
        return WordPieceTokenizer(cls.files.verified("tokenizer.json", folder), minilm.MAX_POSITIONS)

    def _weights(self) -> Weights:
        return minilm.minilm_weights(self.files.verified("model.safetensors", self._folder))

    def legible(self, texts: Sequence[str]) -> list[str]:
        """Return texts without symbols that are no tokens: with an emoji behind it, a word is an unknown token."""
        return self.tokenizer.without_unknown_symbols(texts)

    def can_read(self, texts: Sequence[str]) -> list[bool]:
        """Return whether at least half of a text's letters and digits are in known tokens.

        Of Thai, Burmese, Khmer and Amharic there are none: three different Thai posts have a cosine of 1. Of 200
        Japanese tweets 33 are not read, and of English, Spanish and Greek ones all are.
        """
        return super().can_read(texts)


class E5Model(LocalModel[UnigramTokenizer]):
    """multilingual-e5-small in 4 bits, for a hundred languages: about 450 MB, 1 s to open.

    Its own vectors all lie in one direction: unrelated texts have a cosine of .78. A constant mean is subtracted, one
    of queries and one of posts, and what is left is scaled to unit length. docs/encoders.md says what that gains.
    """

    name: str = "multilingual-e5-small@1571fc98/centred-1"
    files: ClassVar = E5
    architecture: ClassVar = e5.ARCHITECTURE
    tokenizer_name = UnigramTokenizer.name
    query_prefix: str = "query:"
    passage_prefix: str = "passage:"

    @classmethod
    def open_tokenizer(cls, folder: Path | None = None) -> UnigramTokenizer:
        """Open the tokenizer alone."""
        return UnigramTokenizer(_packed_e5(folder).vocabulary, e5.MAX_POSITIONS)

    def _weights(self) -> Weights:
        return _packed_e5(self._folder).weights()

    @cached_property
    def _means(self) -> dict[str, NDArray[np.float32]]:
        means = json.loads(MEANS.read_text(encoding="utf-8"))
        return {prefix: np.array(mean, np.float32) for prefix, mean in means.items()}

    def whole_vectors(self, texts: Sequence[str], prefix: str) -> NDArray[np.float32]:
        """Return the model's own unit vectors, float32 (texts, 384), with the mean in them."""
        found = np.empty((len(texts), self.dimension), np.float32)
        for indices, inputs in self.batches(texts, prefix):
            found[indices] = self.session.run(["vectors"], inputs)[0]
        return found

    def finished(self, vectors: NDArray[np.float32], prefix: str) -> NDArray[np.float32]:
        """Return the vectors without their mean, of unit length."""
        centred = vectors - self._means[prefix]
        return np.asarray(centred / np.linalg.norm(centred, axis=1, keepdims=True), np.float32)


@lru_cache(maxsize=1)  # a third of a second, for the tokenizer and the graph; the tensors stay in the file
def _packed_e5(folder: Path | None) -> e5.PackedE5:
    return e5.PackedE5(E5.verified("e5-small-q4.bin", folder))


def padded_batch(token_ids: Sequence[NDArray[np.int32]]) -> dict[str, NDArray[np.int32]]:
    """Return the graph's inputs for a batch: ids padded on the right to the longest text, and lengths."""
    lengths = np.array([len(ids) for ids in token_ids], dtype=np.int32)
    padded = np.zeros((len(token_ids), int(lengths.max())), dtype=np.int32)
    for row, ids in enumerate(token_ids):
        padded[row, : len(ids)] = ids
    return {"token_ids": padded, "lengths": lengths}


def _open_session(model: bytes, weights: Weights, threads: int) -> ort.InferenceSession:
    options = ort.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.enable_mem_pattern = False  # shapes differ from batch to batch
    values = [ort.OrtValue.ortvalue_from_numpy(array) for array in weights.values()]
    options.add_external_initializers(list(weights), values)
    return ort.InferenceSession(model, options, providers=execution_providers())


def execution_providers(available: Sequence[str] | None = None) -> list[Any]:
    """Return onnxruntime's providers, best first: CUDA if its build has it, and always the CPU.

    If CUDA is built in but has no device or driver, onnxruntime logs that and continues without it.
    """
    found = ort.get_available_providers() if available is None else available
    # TF32 would round the factors of every product to 10 bits: vectors of one generation then depend on the machine.
    cuda = [(_CUDA, {"use_tf32": "0"})] if _CUDA in found else []
    return [*cuda, "CPUExecutionProvider"]
