"""Turn brands' testimonials into requests to a language model, and its answers into claims that they support."""

from collections.abc import Mapping
from dataclasses import dataclass

import polars as pl
from babel import Locale

from assets.framework.asking import DONE, WAITING, Outcomes, Row, due, settled
from assets.lake import LAKE_ACCOUNTS, LAKE_TESTIMONIALS
from assets.summaries.asking import supported_claims
from assets.summaries.model_testimonials_table import MODEL_TESTIMONIALS
from assets.transforms.claims import schema
from assets.transforms.summaries import brand_prompt as prompt
from assets.transforms.summaries.brands import GROUP, current, grouped, newest, themes
from assets.transforms.summaries.prompt import claims_of, ids
from assets.transforms.text.cleaning import clean_lines
from assets.transforms.text.orders import gives_orders
from resources.delta.table import LakeResource
from resources.llm.request import Answer, Message, Request
from resources.models.analyzer import query_terms
from resources.models.embedder import EmbeddingModel
from resources.models.languages import identify

FEW_TEXTS = f"Fewer than {prompt.LEAST_TEXTS} testimonials can be sent; their own sentences say as much."
NO_CLAIM = "Its testimonials support no claim of the answer."
_GROUPS_AT_ONCE = 1_000
_READ = ("testimonial_id", "account_id", "brand", "rating", "text")


@dataclass(frozen=True)
class BrandAsking:
    """How brands and campaigns are asked for. ``llm``, ``language`` and ``tokens`` are as for accounts (`Asking`)."""

    lake: LakeResource
    model: EmbeddingModel
    llm: str
    language: str
    tokens: int
    recipe: str

    def rows(self, bucket: int, groups: pl.DataFrame) -> tuple[pl.DataFrame, dict[str, Request]]:
        """Return a waiting row per group (brand, campaign, made_of), and request id → request."""
        rows, requests = [], {}
        for part in groups.sort(GROUP).iter_slices(_GROUPS_AT_ONCE):
            read = self._newest(part)
            for group in part.select(*GROUP, "made_of").iter_rows(named=True):
                own = pl.DataFrame([group], schema=part.select(*GROUP, "made_of").schema)
                chosen = prompt.sample(prompt.same_group(read, own), self.tokens)
                request_id, state, reason, sent = "", DONE, FEW_TEXTS, list[str]()
                if chosen.height >= prompt.LEAST_TEXTS:
                    request = self._request(chosen)
                    request_id, state, reason = request.id(self.llm), WAITING, "It is being sent."
                    requests[request_id], sent = request, chosen["testimonial_id"].to_list()
                languages = chosen["language"].drop_nulls().mode().sort()
                made = {"account_bucket": bucket, "language": languages[0] if languages.len() else None, "state": state}
                made |= {"reason": reason, "request_id": request_id, "sample": sent}
                rows.append(group | made | {"claims_dropped": 0, "recipe": self.recipe})
        return pl.DataFrame(rows, schema=MODEL_TESTIMONIALS.polars_schema), requests

    def verified(self, rows: pl.DataFrame, outcomes: Outcomes) -> pl.DataFrame:
        """Return rows with the outcomes of their requests: claims that live testimonials support, or a reason."""
        asked = due(rows, outcomes)
        if asked.is_empty():
            return rows
        texts, polarities = self.said(asked["sample"].explode())
        return settled(rows, outcomes, lambda row, found: self._claims(row, found, texts, polarities))

    def said(self, testimonial_ids: pl.Series) -> tuple[dict[str, str], dict[str, str]]:
        """Return the live testimonials' id → cleaned text, and id → polarity."""
        wanted = pl.LazyFrame({"testimonial_id": testimonial_ids.drop_nulls().unique()})
        live = self._live().join(wanted, on="testimonial_id", how="semi").collect(engine="streaming")
        texts = {id_: cleaned(text) for id_, text in live.select("testimonial_id", "text").iter_rows()}
        return texts, dict(grouped(live.lazy()).select("testimonial_id", "polarity").iter_rows())

    def _live(self) -> pl.LazyFrame:
        return current(self.lake.scan(LAKE_TESTIMONIALS), self.lake.scan(LAKE_ACCOUNTS))

    def _newest(self, groups: pl.DataFrame) -> pl.DataFrame:
        """Return the newest testimonials of some groups with texts, owners and languages, without those with orders."""
        brands = groups.select("brand").unique().lazy()
        live = self._live().join(brands, on="brand", how="semi", nulls_equal=True)
        read = newest(grouped(live), groups)
        wanted = read.lazy().select("testimonial_id").unique()
        texts = live.select(_READ).join(wanted, on="testimonial_id", how="semi").collect(engine="streaming")
        owner = pl.col("account_id").fill_null(pl.col("brand").fill_null(""))
        cleaned_texts = pl.Series("text", [cleaned(text) for text in texts["text"]], dtype=pl.String)
        languages = pl.Series("language", identify(cleaned_texts.to_list()), dtype=pl.String)
        is_said = pl.Series([bool(text) and not gives_orders(text) for text in cleaned_texts], dtype=pl.Boolean)
        known = texts.select("testimonial_id", owner.alias("owner")).with_columns(cleaned_texts, languages)
        return read.join(known.filter(is_said), on="testimonial_id", maintain_order="left")

    def _request(self, chosen: pl.DataFrame) -> Request:
        name = Locale("en").languages.get(self.language, self.language)
        said = prompt.content(chosen["text"].to_list(), chosen["rating"].to_list())
        return Request(
            [Message("system", prompt.system(name)), Message("user", said)],
            prompt.MAX_TOKENS,
            schema(list(ids(chosen["testimonial_id"].to_list()))),
            prompt_version=prompt.PROMPT_VERSION,
            account_ids=tuple(sorted(set(chosen["owner"]))),
        )

    def _claims(self, row: Row, found: Answer, texts: Mapping[str, str], polarities: Mapping[str, str]) -> Row:
        claims, dropped = claims_of(found.value, row["sample"], texts)
        supported = supported_claims(self.model, claims, texts, self.language or row["language"] or "")
        kept = [prompt.of_one_polarity(claim, polarities) for claim in supported]
        cut = " It was cut off at the most tokens." * (found.finish_reason == "length")
        said = {id_: texts[id_] for id_ in row["sample"] if id_ in texts}
        return {
            "reason": None if kept else NO_CLAIM + cut,
            "claims": [claim.text for claim, _ in kept],
            "testimonial_ids": [list(claim.post_ids) for claim, _ in kept],
            "polarities": [polarity for _, polarity in kept],
            "themes": themes([claim.text for claim, _ in kept], said, (row["brand"], row["campaign"]), query_terms),
            "claims_dropped": len(dropped) + len(claims) - len(kept),
        }


def cleaned(text: str | None) -> str:
    """Return a testimonial's text as it is sent and as claims are compared with it."""
    return "\n".join(clean_lines(text or ""))
