"""The bench of embedding, on a few posts: that it measures what it says. How fast it is, a test cannot know."""

import io
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest
from rich.console import Console

from assets.transforms.text.corpus import content_hash
from resources.local_stack import EmbeddedStack
from resources.models.embedder import MiniLmModel
from resources.s3.client import S3Resource
from tests.benchmarks import embed, embed_peer, gemm

# Dagster 1.13.27 calls its own deprecated property for nested resources.
DAGSTERS_OWN_DEPRECATION = pytest.mark.filterwarnings(
    "ignore:InitResourceContext.dagster_run is deprecated:DeprecationWarning"
)


@pytest.fixture(scope="module")
def model() -> MiniLmModel:
    return MiniLmModel(threads=1)


@pytest.fixture
def bench_home(stack: EmbeddedStack, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    stack.write(tmp_path / "stack.json")
    monkeypatch.setattr(embed, "POSTS", 40)
    monkeypatch.setattr(embed, "ROUNDS", 1)
    monkeypatch.setattr(gemm, "_GEMM_SIZE", 128)
    return tmp_path


def bench_buckets(home: Path) -> list[str]:
    listed = S3Resource(bucket="any", stack_file=str(home / "stack.json")).client.list_buckets()["Buckets"]
    return [bucket["Name"] for bucket in listed if bucket["Name"].startswith("bench-embed")]


def test_posts_are_as_long_as_real_ones_and_the_same_each_time(model: MiniLmModel) -> None:
    texts = embed.real_length_posts(1_000, model)
    assert texts == embed.real_length_posts(1_000, model)
    assert len(set(texts)) == 1_000
    tokens = np.array(model.tokenizer.token_counts(texts))
    # X-Topic: percentiles 10, 50, 90 of 16, 42 and 126 tokens, 58 on average.
    assert 13 <= np.percentile(tokens, 10) <= 20
    assert 38 <= np.median(tokens) <= 48
    assert 105 <= np.percentile(tokens, 90) <= 140
    assert 52 <= tokens.mean() <= 66
    assert tokens.max() <= model.max_content_tokens + 5


def test_operations_are_those_of_the_graph(model: MiniLmModel) -> None:
    bare = embed.BareLoop.of(model, ["word"])
    length, hidden = 3, 384
    dense = 2 * length * (hidden * 3 * hidden + hidden * hidden + 2 * hidden * 4 * hidden)
    assert bare.floating_point_operations == 6 * (dense + 4 * length * length * hidden)


@DAGSTERS_OWN_DEPRECATION
def test_a_missing_peer_is_a_target_unmet(bench_home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(embed_peer, "find_spec", lambda _: None)
    result = embed.measure(bench_home, Console(file=io.StringIO()))
    for encoder in ("english", "multilingual"):
        peer = result.targets[f"{encoder}_stage_against_sentence_transformers"]
        assert (peer.target, peer.got, peer.met) == (1.15, 0.0, False)
        bare = f"{encoder}_stage_against_bare_loop"
        assert result.targets[bare].got == result.figures[bare] > 0
        measured = {"stage_posts_per_second", "stage_gflops", "bare_loop_gflops", "gemm_peak_gflops"}
        assert result.figures.keys() > {f"{encoder}_{name}" for name in measured}
        assert f"{encoder}_sentence_transformers_posts_per_second" not in result.figures
    ratio = result.figures["multilingual_stage_posts_per_second"] / result.figures["english_stage_posts_per_second"]
    assert result.targets["multilingual_against_english"].got == pytest.approx(ratio, abs=1e-3)
    assert {name for name in gemm.INSTRUCTION_SETS if result.figures[name]} == gemm.instruction_sets()
    assert bench_buckets(bench_home) == []


@pytest.mark.skipif(find_spec("sentence_transformers") is None, reason="needs sentence-transformers")
@DAGSTERS_OWN_DEPRECATION
def test_the_peer_embeds_the_same_vectors(bench_home: Path) -> None:
    result = embed.measure(bench_home, Console(file=io.StringIO()))
    for encoder in ("english", "multilingual"):
        assert result.figures[f"{encoder}_sentence_transformers_posts_per_second"] > 0
        assert result.figures[f"{encoder}_stage_against_sentence_transformers"] > 0


def test_other_vectors_are_refused() -> None:
    one = np.eye(3, dtype=np.float32)
    ours = {content_hash(text): vector for text, vector in zip("abc", one, strict=True)}
    embed.require_alike(["a", "b", "c"], ours, one)
    with pytest.raises(embed.UnlikeVectorsError, match=r"differ by 1\.0e\+00"):
        embed.require_alike(["b", "a", "c"], ours, one)
    with pytest.raises(embed.UnlikeVectorsError):
        embed.require_alike(["a", "b", "c"], ours, one * np.float32(np.nan))
