"""Measure embedding: the whole stage beside sentence-transformers and a plain onnxruntime loop.

The stage reads chunks from Delta on S3, tokenises, embeds and writes. sentence-transformers only tokenises and embeds;
the bare loop only embeds batches that were sorted by length, tokenised and padded beforehand. All use the same weights
and cores, in alternating rounds of one run; medians are compared.
"""

import os
import random
import re
import statistics
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import cast

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
from resources.llm.embedder import ENCODERS, EmbedderResource
from resources.models.embedder import E5Model, MiniLmModel
from resources.s3.client import S3Resource
from tests.benchmarks import BenchResult, Target
from tests.benchmarks.embed_peer import sentence_transformers
from tests.benchmarks.gemm import INSTRUCTION_SETS, gemm_gflops, instruction_sets

POSTS = 2_000
ROUNDS = 3
LEAST_OF_SENTENCE_TRANSFORMERS = 1.15
LEAST_OF_BARE_LOOP = 0.95
LEAST_OF_ENGLISH = 0.35
"""Posts a second of the multilingual encoder, which has twice the layers and more tokens, beside the English one."""
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

    model: MiniLmModel | E5Model
    batches: Sequence[dict[str, NDArray[np.int32]]]

    @classmethod
    def of(cls, model: MiniLmModel | E5Model, texts: Sequence[str]) -> "BareLoop":
        """Prepare the batches."""
        return cls(model, [inputs for _, inputs in model.batches(texts, model.passage_prefix)])

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
        layers, hidden = self.model.architecture.layers, self.model.architecture.hidden
        dense = 2 * (4 * hidden * hidden + 2 * hidden * 4 * hidden)
        return float(layers * (dense * lengths + 4 * hidden * lengths**2).sum())


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


def measure(home: Path, console: Console) -> BenchResult:
    """Embed 2,000 posts with each in turn, three times, for each encoder. Raises UnlikeVectorsError."""
    texts = real_length_posts(POSTS, MiniLmModel(available_cores()))
    figures: dict[str, float] = {}
    targets: dict[str, Target] = {}
    for encoder in ENCODERS:
        found = measure_encoder(encoder, texts, home, console)
        figures |= {f"{encoder}_{name}": value for name, value in found.figures.items()}
        targets |= {f"{encoder}_{name}": target for name, target in found.targets.items()}
    ratio = figures["multilingual_stage_posts_per_second"] / figures["english_stage_posts_per_second"]
    figures["multilingual_against_english"] = round(ratio, 3)
    targets["multilingual_against_english"] = Target(LEAST_OF_ENGLISH, round(ratio, 3), ratio >= LEAST_OF_ENGLISH)
    sets = instruction_sets()
    figures |= {name: float(name in sets) for name in INSTRUCTION_SETS}
    return BenchResult("embed", figures, targets)


def measure_encoder(encoder: str, texts: Sequence[str], home: Path, console: Console) -> BenchResult:
    """Embed texts with the stage, the bare loop and sentence-transformers in turn, three times."""
    embedder = EmbedderResource(encoder=encoder)
    model = embedder.model()
    if not isinstance(model, MiniLmModel | E5Model):
        raise TypeError(f"{model.name} is no local encoder.")
    bare, stage = BareLoop.of(model, texts), Stage(home, texts)
    Stage(home, texts[:64]).run(embedder)  # opens the model
    rounds: dict[str, list[float]] = {"stage": [], "bare_loop": [], "sentence_transformers": [], "gemm": []}
    with tempfile.TemporaryDirectory(prefix="cippus-") as folder:
        theirs = Path(folder) / "vectors.npy"
        with sentence_transformers(encoder, texts, Path(folder)) as peer:
            for number in range(1, ROUNDS + 1):
                console.print(f"{encoder}, round {number} of {ROUNDS}: {len(texts):,} posts each", highlight=False)
                rounds["bare_loop"].append(bare.seconds())
                seconds, ours = stage.run(embedder)
                rounds["stage"].append(seconds)
                if peer is not None:
                    rounds["sentence_transformers"].append(peer.seconds())
                rounds["gemm"].append(gemm_gflops(available_cores()))
        if theirs.exists():
            require_alike(texts, ours, model.finished(np.load(theirs), model.passage_prefix))
    return _result(rounds, bare.floating_point_operations, len(texts))


def require_alike(texts: Sequence[str], ours: dict[str, NDArray[np.float32]], theirs: NDArray[np.float32]) -> None:
    """Compare vectors by content hash with vectors in the order of ``texts``. Raises UnlikeVectorsError."""
    made = np.stack([ours[content_hash(text)] for text in texts])
    difference = float(np.abs(made - theirs).max())
    if not difference <= MOST_DIFFERENCE:
        message = f"Vectors differ by {difference:.1e} from sentence-transformers', expected at most {MOST_DIFFERENCE}."
        raise UnlikeVectorsError(message)


def _result(rounds: dict[str, list[float]], operations: float, posts: int) -> BenchResult:
    """Return medians of posts and GFLOP/s; ratios are computed per round before their median."""
    figures: dict[str, float] = {}
    for name in ("stage", "bare_loop", "sentence_transformers"):
        if rounds[name]:
            seconds = statistics.median(rounds[name])
            figures |= {f"{name}_posts_per_second": posts / seconds, f"{name}_gflops": operations / seconds / 1e9}
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
