"""The embedding model: texts in, unit vectors out, on onnxruntime without torch or behind an endpoint."""

from collections.abc import Iterator, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any, Protocol

import dagster as dg
import numpy as np
import onnxruntime as ort
from numpy.typing import NDArray
from pydantic import Field

from resources.cpu import available_cores
from resources.llm.embedding_endpoint import Endpoint, EndpointModel
from resources.models.minilm_graph import MAX_POSITIONS, Weights, arrange_weights, minilm_model
from resources.models.model_files import read_safetensors, verified, weights_folder
from resources.models.tokenizer import SPECIAL_TOKENS, WordPieceTokenizer, length_batches

# Tokens/s of 800 posts on 2 cores: 512: 14,600; 1,024: 14,100; 4,096: 12,100; 16,384: 8,700 (padding, cache misses).
# 1,024 rather than 512, so that more cores than two find work too.
DEFAULT_BATCH_TOKENS = 1_024
_GPU_BATCH_TOKENS = 65_536  # a GPU waits for its kernels to be started: 256 texts of the longest kind
_CUDA = "CUDAExecutionProvider"


class EmbeddingModel(Protocol):
    """What the lineage asks of an embedding model, wherever it runs."""

    name: str
    """Names a generation of vectors: it differs whenever the vectors of a text do."""
    tokenizer_name: str
    max_content_tokens: int
    """The longest text that is taken whole, in tokens of ``tokenizer_name``, special tokens not counted."""

    @property
    def dimension(self) -> int:
        """Numbers in a vector."""
        ...

    def token_counts(self, texts: Sequence[str]) -> list[int]:
        """Tokens of each whole text, special tokens not counted."""
        ...

    def token_offsets(self, texts: Sequence[str]) -> Iterator[list[tuple[int, int]]]:
        """The (start, end) character offsets of each whole text's tokens in turn."""
        ...

    def embed(self, texts: Sequence[str]) -> Iterator[tuple[list[int], NDArray[np.float32]]]:
        """(indices into ``texts``, their unit vectors) in any order, every index once."""
        ...


class MiniLmModel:
    """all-MiniLM-L6-v2, open: about 250 MB, 0.3 s to open. Safe to use from several threads.

    Within 1e-6 (maximum, absolute) of sentence-transformers. One text's vector depends on the batch that it was
    in by up to 1e-6, since sums are ordered differently: compare vectors with a tolerance of 1e-5, never by bytes.
    """

    name: str = "all-MiniLM-L6-v2@1110a243"
    tokenizer_name: str = WordPieceTokenizer.name
    dimension: int = 384
    max_tokens: int = MAX_POSITIONS
    max_content_tokens: int = MAX_POSITIONS - SPECIAL_TOKENS

    def __init__(self, folder: Path, threads: int, batch_tokens: int | None = None) -> None:
        """Open the files in ``folder``; raises ModelFilesError when they are missing or are other files.

        It runs on a GPU when the installed onnxruntime has a CUDA provider (onnxruntime-gpu) that can be opened.
        """
        weights = arrange_weights(read_safetensors(verified(folder / "model.safetensors")))
        self.session = _open_session(weights, threads)
        on_gpu = _CUDA in self.session.get_providers()
        self._batch_tokens = batch_tokens or (_GPU_BATCH_TOKENS if on_gpu else DEFAULT_BATCH_TOKENS)
        self.tokenizer = WordPieceTokenizer(folder, self.max_tokens)

    def token_counts(self, texts: Sequence[str]) -> list[int]:
        """Tokens of each whole text, special tokens not counted."""
        return self.tokenizer.token_counts(texts)

    def token_offsets(self, texts: Sequence[str]) -> Iterator[list[tuple[int, int]]]:
        """The (start, end) character offsets of each whole text's tokens in turn, special tokens left out."""
        return self.tokenizer.token_offsets(texts)

    def embed(self, texts: Sequence[str]) -> Iterator[tuple[list[int], NDArray[np.float32]]]:
        """Embed ``texts``, batch by batch, so that a caller can write as it goes.

        Yields (indices into ``texts``, float32 vectors (len(indices), 384) of unit length). Every index comes once;
        batches come longest texts first, because texts of one length need no padding (2.4× faster than as given),
        so pass a window of thousands. What is beyond 256 tokens is cut off. Memory: 4 bytes a token of the window.
        """
        token_ids = self.tokenizer.token_ids(texts)
        lengths = np.array([len(ids) for ids in token_ids], dtype=np.int32)
        for indices in length_batches(lengths, self._batch_tokens):
            inputs = padded_batch([token_ids[index] for index in indices])
            yield indices, self.session.run(["vectors"], inputs)[0]


class EmbedderResource(dg.ConfigurableResource["EmbedderResource"]):
    """The embedding model of this process, opened when it is first needed and then kept.

    With an ``endpoint_url`` texts are embedded by an OpenAI-compatible server, such as TEI or vLLM; else here.
    """

    threads: int = Field(
        default=0,
        ge=0,
        description="Cores to use; 0 means those this process was given, by affinity and by its container's quota.",
    )
    batch_tokens: int = Field(
        default=0,
        ge=0,
        description="Tokens in a batch, padding included; 0 means what was measured to be fastest (500 to 2,000 a "
        "pair of cores, 65,536 on a GPU; 8,192 in a request to an endpoint).",
    )
    endpoint_url: str = Field(default="", description="Base address of the endpoint, such as http://host:8080/v1.")
    endpoint_model: str = Field(default="", description="The model's name there; it names the vectors' generation.")
    endpoint_api_key: str = Field(default="", repr=False, description="Sent as a bearer token, when given.")
    endpoint_requests: int = Field(default=8, ge=1, description="Requests under way at a time.")

    def model(self) -> EmbeddingModel:
        """The open model.

        Raises ModelFilesError when its files are missing or are other files, EndpointSettingError for an endpoint
        without a model's name or with an address that is none.
        """
        if not self.endpoint_url:
            return _open_model(self.threads or available_cores(), self.batch_tokens or None)
        endpoint = Endpoint(self.endpoint_url, self.endpoint_model, self.endpoint_api_key)
        return _open_endpoint(endpoint, self.endpoint_requests, self.batch_tokens or None)


# Dagster copies a resource for every step, so what is kept in the resource itself would be opened again by each.
@lru_cache(maxsize=1)
def _open_model(threads: int, batch_tokens: int | None) -> MiniLmModel:
    return MiniLmModel(weights_folder(), threads, batch_tokens)


@lru_cache(maxsize=1)
def _open_endpoint(endpoint: Endpoint, requests: int, batch_tokens: int | None) -> EndpointModel:
    tokenizer = WordPieceTokenizer(weights_folder(), MAX_POSITIONS)
    return EndpointModel(endpoint, tokenizer, requests=requests, request_tokens=batch_tokens)


def padded_batch(token_ids: Sequence[NDArray[np.int32]]) -> dict[str, NDArray[np.int32]]:
    """The graph's inputs for a batch: ids padded on the right to the longest, and lengths."""
    lengths = np.array([len(ids) for ids in token_ids], dtype=np.int32)
    padded = np.zeros((len(token_ids), int(lengths.max())), dtype=np.int32)
    for row, ids in enumerate(token_ids):
        padded[row, : len(ids)] = ids
    return {"token_ids": padded, "lengths": lengths}


def _open_session(weights: Weights, threads: int) -> ort.InferenceSession:
    options = ort.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.enable_mem_pattern = False  # shapes differ from batch to batch
    values = [ort.OrtValue.ortvalue_from_numpy(array) for array in weights.values()]
    options.add_external_initializers(list(weights), values)
    return ort.InferenceSession(minilm_model(weights), options, providers=execution_providers())


def execution_providers(available: Sequence[str] | None = None) -> list[Any]:
    """What onnxruntime may run on, best first: a GPU where its build has CUDA, and always the CPU.

    Where CUDA is built in but has no device or driver, onnxruntime logs that and goes on without it.
    """
    found = ort.get_available_providers() if available is None else available
    # TF32 would round the factors of every product to 10 bits: vectors of one generation then depend on the machine.
    cuda = [(_CUDA, {"use_tf32": "0"})] if _CUDA in found else []
    return [*cuda, "CPUExecutionProvider"]
