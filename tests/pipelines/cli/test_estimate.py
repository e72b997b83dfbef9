"""`cippus estimate`: the spreadsheet that a manager reads, and where the offers come from."""

import zipfile
from dataclasses import replace
from pathlib import Path

import pytest
import python_calamine

from assets.marts.estimates import as_row, offers
from assets.transforms.estimates import TEAMS_CASE, Interval, Offer, Option, Workload, exact, options
from assets.transforms.workloads import Asked, teams_case
from pipelines.cli.spreadsheet import write_estimate
from resources.models.llm_tokenizers import has_tokenizer, llm_token_counts
from resources.spend.prices import PriceBook, UnknownPriceError

CORPUS = Workload("summaries of the sampled corpus", 300, Interval(90_000, 80_000, 100_000), 2_000)


@pytest.fixture(scope="module")
def offered() -> list[Offer]:
    return offers(PriceBook(), ["openai/gpt-5-mini"])


def written(folder: Path, cases: list[Workload], offered: list[Offer]) -> Path:
    path = folder / "estimate.xlsx"
    write_estimate(path, cases, offered, 2e6, "counted", PriceBook().services())
    return path


def formulas(path: Path) -> str:
    with zipfile.ZipFile(path) as book:
        return "".join(book.read(name).decode() for name in book.namelist() if name.startswith("xl/worksheets/sheet"))


def cells(path: Path, sheet: str) -> list[list[object]]:
    return [
        list(row) for row in python_calamine.CalamineWorkbook.from_path(str(path)).get_sheet_by_name(sheet).to_python()
    ]


def test_the_spreadsheet_says_which_option_is_cheapest_at_which_quality(tmp_path: Path, offered: list[Offer]) -> None:
    path = written(tmp_path, [CORPUS, TEAMS_CASE], offered)
    answers = [row[:8] for row in cells(path, "Answer")[3:] if isinstance(row[1], float)]
    assert [row[1] for row in answers] == [73, 80, 86] * 2
    for number, (case, least, usd, provider, model, how, fits, sheet) in enumerate(answers):
        workload = (CORPUS, TEAMS_CASE)[number // 3]
        best = next(o for o in options(workload, offered, 2e6) if is_good(o, float(str(least))))
        assert (case, provider, model, how) == (
            workload.name, best.offer.provider, best.offer.model, best.offer.lane,
        )  # fmt: skip
        assert (fits, sheet) == ("yes" if workload is CORPUS else "no", f"Options {number // 3 + 1}")
        assert usd == pytest.approx(best.usd.value)


def is_good(option: Option, least: float) -> bool:
    offer = option.offer
    return not offer.retired and bool(offer.mmlu) and float(offer.mmlu) >= least


def test_the_team_s_old_estimate_stands_beside_the_same_work(tmp_path: Path, offered: list[Offer]) -> None:
    path = written(tmp_path, [CORPUS, *teams_case(exact(1.0), Asked(), 3_000)], offered)
    rows = {row[0]: row for row in cells(path, "Answer")}
    old = rows["every post, as it was estimated: a 70B, one by one"]
    assert old[2] == pytest.approx(169_840)
    assert old[6:8] == ["no", "no"]
    assert rows["every post, a 70B in batches"][2] == pytest.approx(84_920)
    assert rows["every post, an 8B one by one"][2] == pytest.approx(34_740)
    fewer = float(str(rows["at most 20,000 posts an account, a 70B one by one"][2]))
    sampled = rows["as Cippus samples it, a 70B one by one"]
    assert 84_920 < fewer < 169_840
    assert float(str(sampled[2])) < 2_000
    assert sampled[6] == "yes"


def test_costs_are_live_formulas_over_prices_and_assumptions(tmp_path: Path, offered: list[Offer]) -> None:
    path = written(tmp_path, [CORPUS, TEAMS_CASE], offered)
    text = formulas(path)
    assert text.count("<f>(Assumptions!$B$12*F") == len(offered)
    assert text.count("<f>(Assumptions!$C$12*F") == len(offered)
    assert text.count("<f>Prices!F") == 2 * len(offered)
    assert text.count("_xlfn.MINIFS(") == 3 * 2 + 2  # by quality, and one of each case on All in


def test_each_offer_names_its_source_and_other_prices(offered: list[Offer]) -> None:
    by_name = {(offer.provider, offer.model, offer.lane): offer for offer in offered}
    assert all(offer.source for offer in offered)
    assert by_name["together", "meta-llama/Llama-3.3-70B-Instruct-Turbo", "live"].also == "$0.88/$0.88"
    assert by_name["openai", "gpt-5-mini", "batch"].input_usd * 2 == by_name["openai", "gpt-5-mini", "live"].input_usd


@pytest.mark.parametrize("model", ["openai/no-such-model", "nobody/gpt-5-mini", "gpt-5-mini"])
def test_a_model_without_a_price_is_refused(model: str) -> None:
    with pytest.raises(UnknownPriceError, match="No price is known"):
        offers(PriceBook(), [model])


def test_an_option_as_a_row_has_its_interval(offered: list[Offer]) -> None:
    option: Option = options(CORPUS, offered, 2e6)[0]
    row = as_row(option)
    assert row["usd_low"] < row["usd"] < row["usd_high"]


def test_a_packaged_tokenizer_counts_exactly() -> None:
    assert has_tokenizer("llama-3.1-8b")
    assert not has_tokenizer("gpt-5-mini")
    assert llm_token_counts("llama-3.3-70b", ["Hello world", "", "ビーガン 🍜"]) == [2, 0, 7]


def test_all_costs_follow_from_the_inputs_of_their_sheet(tmp_path: Path, offered: list[Offer]) -> None:
    path = written(tmp_path, [CORPUS, TEAMS_CASE], offered)
    rows = {str(row[0]): row[1:3] for row in cells(path, "All in")}
    given = {name: float(str(row[0])) for name, row in rows.items() if isinstance(row[0], float)}
    posts = TEAMS_CASE.posts
    embedding = posts / given["posts embedded a second"] / 3600 * given["USD an hour of the machine that embeds"]
    memory = posts * given["bytes of memory a post"] / 1e9 * given["USD of memory by GB and month"]
    storage = posts * given["bytes on S3 a post"] / 1e9 * given["USD of storage by GB and month"]
    assert rows["embedding"][1] == pytest.approx(embedding)
    assert rows["all of it, a month"][1] == pytest.approx(memory + storage)
    once = sum(float(str(rows[name][1])) for name in ("language model", "embedding", "S3 requests"))
    assert rows["all of it, once"][1] == pytest.approx(once)
    best = next(option for option in options(TEAMS_CASE, offered, 2e6) if is_good(option, 80))
    assert rows["language model"][1] == pytest.approx(best.usd.value)


def test_a_name_that_looks_like_a_formula_stays_a_name(tmp_path: Path, offered: list[Offer]) -> None:
    path = tmp_path / "estimate.xlsx"
    odd = replace(offered[0], model="=1+1", source="https://example.com/price")
    write_estimate(path, [CORPUS], [odd], 2e6, "=2+2", PriceBook().services())
    assert cells(path, "Options 1")[4][1] == "=1+1"
    assert "<f>1+1</f>" not in formulas(path)
