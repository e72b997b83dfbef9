"""mart/estimates over a corpus: exact counts, samples of accounts, usage that answers reported, rented machines."""

import datetime as dt
import random
from decimal import Decimal
from pathlib import Path

import pytest

from assets.corpus import CHUNKS
from assets.marts.estimates import as_row, corpus_workloads, offers
from assets.marts.operations import ESTIMATES
from assets.transforms.estimates import options
from resources.catalogues.prices import Gpu, Speed, save_speed
from resources.delta.table import LakeResource
from resources.models.llm_tokenizers import llm_token_counts
from resources.spend.prices import PriceBook, UnknownPriceError
from tests.worlds.summaries import SummaryWorld

WORDS = ("sourdough", "bread", "winter", "hike", "2026", "ビーガン", "vegan", "mountain-bike", "#fitness")
DAY = dt.date(2026, 11, 1)


@pytest.fixture
def world(lake: LakeResource) -> SummaryWorld:
    chance, made = random.Random(7), SummaryWorld(lake)  # noqa: S311
    posts = {
        f"account{n:03}": [
            " ".join(chance.choices(WORDS, k=chance.randint(3, 30))) for _ in range(chance.randint(1, 6))
        ]
        for n in range(40)
    }
    made.write(posts)
    return made


def test_a_small_corpus_is_counted_exactly(world: SummaryWorld) -> None:
    texts = world.lake.scan(CHUNKS).collect()
    found, ratio, asked, how = corpus_workloads(world.lake, 3_000)
    whole = found[-1]
    counted = sum(llm_token_counts("llama-3.1-70b", texts["text"].to_list()))
    assert how == "counted with the tokenizer of llama-3.1-70b"
    assert whole.text_tokens.value == pytest.approx(counted)
    assert whole.overhead_tokens == texts.height * asked.post_overhead
    assert whole.text_tokens.low == whole.text_tokens.high
    assert ratio.value == pytest.approx(counted / texts["tokens"].sum())


def test_a_large_corpus_is_sampled_by_accounts(world: SummaryWorld) -> None:
    exact = corpus_workloads(world.lake, 3_000)[1].value
    _, ratio, _, how = corpus_workloads(world.lake, 3_000, exact_tokens=0, sample_tokens=1_500)
    accounts = int(how.split()[2])
    assert how.startswith("estimated from ")
    assert 30 <= accounts < 40
    assert ratio.low < exact < ratio.high
    assert ratio.low < ratio.value < ratio.high
    again = corpus_workloads(world.lake, 3_000, exact_tokens=0, sample_tokens=1_500)
    assert again[1] == ratio


def test_reported_usage_corrects_the_estimate(world: SummaryWorld) -> None:
    before, _, _, _ = corpus_workloads(world.lake, 3_000)
    world.run()
    found, _, asked, how = corpus_workloads(world.lake, 3_000)
    assert how == "from the usage that 40 answers reported"
    billed = [bill.prompt_tokens for bill in world.provider.bills]
    assert found[0].input_tokens.value == pytest.approx(sum(billed), rel=1e-6)
    assert before[0].input_tokens.value != found[0].input_tokens.value
    assert asked.answer_tokens == round(sum(bill.completion_tokens for bill in world.provider.bills) / 40)


def test_rows_are_those_of_the_mart(world: SummaryWorld) -> None:
    found, *_ = corpus_workloads(world.lake, 3_000)
    row = as_row(options(found[0], offers(PriceBook()), 1e6)[0])
    assert {*row, "tokens_known_by", "as_of"} == set(ESTIMATES.schema.names)


def test_a_machine_costs_its_hours(world: SummaryWorld, tmp_path: Path) -> None:
    path = tmp_path / "prices.yaml"
    gpu = Gpu(id="ours", gpu="our L40S", usd_per_hour=Decimal("3.6"), source="invoice", date=DAY)
    prefill, decode = Decimal(1_000), Decimal(100)
    speed = Speed(gpu="ours", family="llama-3.1-8b", prefill=prefill, decode=decode, source="measured", date=DAY)
    save_speed(path, gpu, speed)
    save_speed(path, gpu, speed.model_copy(update={"decode": Decimal(200)}))
    found, *_ = corpus_workloads(world.lake, 3_000)
    workload = found[0]
    [ours] = [o for o in options(workload, offers(PriceBook.with_own(str(path))), 1e6) if "our L40S" in o.offer.model]
    seconds = workload.input_tokens.value / 1_000 + workload.output_tokens / 200
    assert ours.hours == pytest.approx(seconds / 3_600)
    assert ours.usd.value == pytest.approx(seconds * 0.001)
    assert (ours.offer.mmlu, ours.offer.lane) == ("73.0", "self-hosted")


def test_a_speed_of_a_machine_without_a_price_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "prices.yaml"
    path.write_text("speeds: [{gpu: theirs, family: f, prefill: 1, decode: 1, source: s, date: 2026-01-01}]")
    with pytest.raises(UnknownPriceError, match="No price is known for the machine theirs"):
        offers(PriceBook.with_own(str(path)))
