"""Measure embedding: the whole stage beside sentence-transformers and a plain onnxruntime loop.

The stage reads chunks from Delta on S3, tokenises, embeds and writes. sentence-transformers only tokenises and embeds;
the bare loop only embeds batches that were sorted by length, tokenised and padded beforehand. All use the same weights
and cores, in alternating rounds of one run; medians are compared.
"""

import json
import os
import random
import re
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import IO, cast

import numpy as np
import polars as pl
from dagster import DagsterInstance, MaterializeResult, build_asset_context
from numpy.typing import NDArray
from rich.console import Console

from assets.corpus import CHUNKS
from assets.embeddings import VECTORS
from assets.embeddings import vectors as embedding_stage
from assets.transforms.text.corpus import content_hash
from pipelines.samples.texts import load_phrasebook
from resources.cpu import available_cores
from resources.delta.state import LedgerResource
from resources.delta.table import LakeResource
from resources.llm.embedder import EmbedderResource
from resources.models.embedder import DEFAULT_BATCH_TOKENS, MiniLmModel, padded_batch
from resources.models.minilm_graph import HIDDEN, LAYERS
from resources.models.model_files import weights_folder
from resources.models.tokenizer import length_batches
from resources.s3.client import S3Resource
from tests.benchmarks import BenchResult, Target
from tests.benchmarks.gemm import gemm_gflops

POSTS = 2_000
ROUNDS = 3
LEAST_OF_SENTENCE_TRANSFORMERS = 1.15
LEAST_OF_BARE_LOOP = 0.95
MOST_DIFFERENCE = 1e-5
# Tokens of a post: of X-Topic's 800 tweets the median is 42, the mean 58, the percentiles 10 and 90 are 16 and 126.
_LOG_TOKENS, _LOG_TOKENS_SPREAD = 3.76, 0.78
_FEWEST_TOKENS = 4
_SEED = 20_260_701


class UnlikeVectorsError(RuntimeError):
    """The stage's vectors differ from those of sentence-transformers, so its speed is meaningless."""


def real_length_posts(count: int, model: MiniLmModel) -> list[str]:
    """Return distinct texts of creators' words, as long as real posts, cut to the model's maximum."""
    rng = random.Random(_SEED)  # noqa: S311
    book = load_phrasebook()
    phrases = [line for vertical in book.verticals.values() for line in (*vertical.lines, *vertical.details)]
    words = sorted({word for phrase in (*phrases, *book.closers) for word in re.findall(r"[A-Za-z']+[.,!?]?", phrase)})
    tokens = dict(zip(words, model.tokenizer.token_counts(words), strict=True))
    texts = []
    for _ in range(count):
        drawn = round(rng.lognormvariate(_LOG_TOKENS, _LOG_TOKENS_SPREAD))
        left, text = min(max(drawn, _FEWEST_TOKENS), model.max_content_tokens), []
        while left > 0:
            text.append(rng.choice(words))
            left -= tokens[text[-1]]
        texts.append(" ".join(text))
    return texts


@dataclass(frozen=True)
class BareLoop:
    """onnxruntime alone, with sorted, tokenised and padded batches."""

    model: MiniLmModel
    batches: Sequence[dict[str, NDArray[np.int32]]]

    @classmethod
    def of(cls, model: MiniLmModel, texts: Sequence[str]) -> "BareLoop":
        """Prepare the batches."""
        ids = model.tokenizer.token_ids(texts)
        lengths = np.array([len(found) for found in ids], dtype=np.int32)
        batches = length_batches(lengths, DEFAULT_BATCH_TOKENS)
        return cls(model, [padded_batch([ids[index] for index in indices]) for indices in batches])

    def seconds(self) -> float:
        """Embed everything once."""
        started = time.perf_counter()
        for batch in self.batches:
            self.model.session.run(["vectors"], batch)
        return time.perf_counter() - started

    @property
    def floating_point_operations(self) -> float:
        """Return the operations of matrix products for the texts' tokens, without padding."""
        lengths = np.concatenate([batch["lengths"] for batch in self.batches]).astype(np.float64)
        dense = 2 * (4 * HIDDEN * HIDDEN + 2 * HIDDEN * 4 * HIDDEN)
        return float(LAYERS * (dense * lengths + 4 * HIDDEN * lengths**2).sum())


class Stage:
    """The asset `embedding/cippus_text` on one bucket of chunks, in an S3 bucket of its own."""

    def __init__(self, home: Path, texts: Sequence[str]) -> None:
        self._name = f"bench-embed-{os.getpid()}"
        self._home = home
        self._rounds = 0
        self._chunks = pl.DataFrame({"text": texts}).with_row_index("chunk_no")

    @contextmanager
    def _lake(self) -> Iterator[LakeResource]:
        """Yield a lake with the chunks and without vectors; delete it afterwards."""
        self._rounds += 1
        s3 = self._s3()
        s3.client.create_bucket(Bucket=s3.bucket)
        try:
            lake = LakeResource(s3=s3)
            lake.append(CHUNKS, _chunk_rows(self._chunks))
            lake.create(VECTORS)
            yield lake
        finally:
            for found in list(s3.list_objects("")):
                s3.client.delete_object(Bucket=s3.bucket, Key=found.key)
            s3.client.delete_bucket(Bucket=s3.bucket)

    def _s3(self) -> S3Resource:
        """Return a new resource: Dagster refuses a used one, because its cached values are no configuration."""
        return S3Resource(bucket=f"{self._name}-{self._rounds}", stack_file=str(self._home / "stack.json"))

    def run(self, embedder: EmbedderResource) -> tuple[float, dict[str, NDArray[np.float32]]]:
        """Return the seconds that the stage reports, and the vectors by content hash.

        They run from its first look at the lake until it has recorded that its bucket is up to date.
        """
        with self._lake() as lake, DagsterInstance.ephemeral() as instance:
            context = build_asset_context(partition_key="0", instance=instance)
            resources = LakeResource(s3=self._s3()), LedgerResource(s3=self._s3()), embedder
            report = cast("MaterializeResult[None]", embedding_stage(context, *resources))
            written = lake.scan(VECTORS).select("content_hash", "vector").collect()
        vectors = (row.to_numpy() for row in written["vector"])
        seconds = cast("float", (report.metadata or {})["seconds"])
        return seconds, dict(zip(written["content_hash"], vectors, strict=True))


def _chunk_rows(texts: pl.DataFrame) -> pl.DataFrame:
    made = texts.with_columns(
        account_bucket=pl.lit(0),
        post_id=pl.format("post-{}", "chunk_no"),
        point_id=pl.format("point-{}", "chunk_no"),
        content_hash=pl.Series([content_hash(text) for text in texts["text"]]),
        tokens=pl.col("text").str.count_matches(r"\S+"),
        chunk_no=pl.lit(0),
    )
    return pl.concat([CHUNKS.empty(), made], how="diagonal_relaxed")


class Peer:
    """sentence-transformers in a process with its own threads."""

    def __init__(self, process: "subprocess.Popen[str]") -> None:
        self._process = process

    def seconds(self) -> float:
        """Embed everything once."""
        _stream(self._process.stdin).write("embed\n")
        _stream(self._process.stdin).flush()
        return float(self._answer())

    def ask(self, texts: Sequence[str], threads: int, max_tokens: int) -> None:
        """Send the texts; return when the model is warm."""
        asked = {"texts": texts, "folder": str(weights_folder()), "threads": threads, "max_tokens": max_tokens}
        _stream(self._process.stdin).write(f"{json.dumps(asked)}\n")
        _stream(self._process.stdin).flush()
        self._answer()

    def _answer(self) -> str:
        line = _stream(self._process.stdout).readline()
        if not line:
            raise RuntimeError("sentence-transformers ended before it answered; see its messages above.")
        return str(json.loads(line))


def _stream(found: IO[str] | None) -> IO[str]:
    if found is None:
        raise RuntimeError("The peer has no pipe.")
    return found


@contextmanager
def sentence_transformers(texts: Sequence[str], threads: int, max_tokens: int, vectors: Path) -> Iterator[Peer]:
    """Yield the ready peer; afterwards ``vectors`` (.npy) has its vectors, (texts, dimension)."""
    program = Path(__file__).with_name("sentence_transformers_peer.py")
    quiet = {"TQDM_DISABLE": "1", "HF_HUB_DISABLE_PROGRESS_BARS": "1"}
    offline = {**os.environ, **quiet, "HF_HUB_OFFLINE": "1", "TOKENIZERS_PARALLELISM": "true"}
    command = [sys.executable, "-P", str(program), str(vectors)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=offline) as process:
        try:
            peer = Peer(process)
            peer.ask(texts, threads, max_tokens)
            yield peer
        except BaseException:
            process.kill()
            raise


def measure(home: Path, console: Console) -> BenchResult:
    """Embed 2,000 posts with each in turn, three times. Raises UnlikeVectorsError."""
    embedder = EmbedderResource()
    model = MiniLmModel(weights_folder(), available_cores())
    texts = real_length_posts(POSTS, model)
    bare, stage = BareLoop.of(model, texts), Stage(home, texts)
    Stage(home, texts[:64]).run(embedder)  # opens the model
    rounds: dict[str, list[float]] = {"stage": [], "bare_loop": [], "sentence_transformers": [], "gemm": []}
    with tempfile.TemporaryDirectory(prefix="cippus-") as folder:
        theirs = Path(folder) / "vectors.npy"
        there = find_spec("sentence_transformers") is not None
        peers = sentence_transformers(texts, available_cores(), model.max_tokens, theirs) if there else nullcontext()
        with peers as peer:
            for number in range(1, ROUNDS + 1):
                console.print(f"round {number} of {ROUNDS}: {POSTS:,} posts each", highlight=False)
                rounds["bare_loop"].append(bare.seconds())
                seconds, ours = stage.run(embedder)
                rounds["stage"].append(seconds)
                if peer is not None:
                    rounds["sentence_transformers"].append(peer.seconds())
                rounds["gemm"].append(gemm_gflops(available_cores()))
        if there:
            require_alike(texts, ours, np.load(theirs))
    return _result(rounds, bare.floating_point_operations)


def require_alike(texts: Sequence[str], ours: dict[str, NDArray[np.float32]], theirs: NDArray[np.float32]) -> None:
    """Compare vectors by content hash with vectors in the order of ``texts``. Raises UnlikeVectorsError."""
    made = np.stack([ours[content_hash(text)] for text in texts])
    difference = float(np.abs(made - theirs).max())
    if not difference <= MOST_DIFFERENCE:
        message = f"Vectors differ by {difference:.1e} from sentence-transformers', expected at most {MOST_DIFFERENCE}."
        raise UnlikeVectorsError(message)


def _result(rounds: dict[str, list[float]], operations: float) -> BenchResult:
    """Return medians of posts and GFLOP/s; ratios are computed per round before their median."""
    figures: dict[str, float] = {}
    for name in ("stage", "bare_loop", "sentence_transformers"):
        if rounds[name]:
            seconds = statistics.median(rounds[name])
            figures |= {f"{name}_posts_per_second": POSTS / seconds, f"{name}_gflops": operations / seconds / 1e9}
    figures["gemm_peak_gflops"] = max(rounds["gemm"])
    figures["stage_share_of_gemm_peak"] = figures["stage_gflops"] / figures["gemm_peak_gflops"]
    ratios = {
        "stage_against_bare_loop": (rounds["bare_loop"], LEAST_OF_BARE_LOOP),
        "stage_against_sentence_transformers": (rounds["sentence_transformers"], LEAST_OF_SENTENCE_TRANSFORMERS),
    }
    targets = {}
    for name, (theirs, least) in ratios.items():
        # A missing peer is a target unmet.
        pairs = zip(theirs, rounds["stage"], strict=True) if theirs else [(0.0, 1.0)]
        ratio = statistics.median(their_seconds / seconds for their_seconds, seconds in pairs)
        figures[name] = ratio
        targets[name] = Target(least, round(ratio, 3), ratio >= least)
    return BenchResult("embed", {name: round(value, 3) for name, value in figures.items()}, targets)
