"""Settings of money and of the language model."""

from decimal import Decimal
from typing import Annotated, ClassVar, Literal

from pydantic import Field

from resources.environment_variables import Settings, variable
from resources.settings.general import Environment, environment
from resources.settings.kinds import Count

_LOCAL_CEILING_USD = Decimal(1)


class SpendSettings(Settings):
    """Ceilings and prices."""

    ceiling_usd: Annotated[Decimal, Field(ge=0, allow_inf_nan=False)] | None = variable(
        "CIPPUS_SPEND_CEILING_USD",
        "Most USD that this project may spend on paid calls, until `cippus spend raise` sets another ceiling.",
        None,
        must_be="a number of USD, 0 or more",
        shown="1; not set in production, where nothing paid is sent without it",
    )
    prices: str = variable("CIPPUS_PRICES", "File of your own prices, in the format of the price catalogue.")


class LlmSettings(Settings):
    """The language model behind an OpenAI-compatible endpoint."""

    SECRETS: ClassVar = {"CIPPUS_LLM_API_KEY": "API key of the LLM endpoint."}

    url: str = variable(
        "CIPPUS_LLM_URL", "OpenAI-compatible LLM endpoint, such as `https://api.together.xyz/v1`.", shown="none"
    )
    model: str = variable("CIPPUS_LLM_MODEL", "Model that the LLM endpoint serves.")
    provider: str = variable(
        "CIPPUS_LLM_PROVIDER",
        "Provider whose prices apply, or `self-hosted` if you run the endpoint.",
        shown="by the endpoint's host; a private host is self-hosted",
    )
    requests: Annotated[int, Field(ge=1)] = variable(
        "CIPPUS_LLM_REQUESTS",
        "Number of concurrent requests to the LLM endpoint.",
        8,
        must_be="a number of requests, at least 1",
    )
    requests_per_minute: Count = variable(
        "CIPPUS_LLM_REQUESTS_PER_MINUTE",
        "Most requests per minute to the LLM endpoint; 0 means no limit.",
        0,
        must_be="a number of requests",
    )
    tokens_per_minute: Count = variable(
        "CIPPUS_LLM_TOKENS_PER_MINUTE",
        "Most tokens per minute to the LLM endpoint; 0 means no limit.",
        0,
        must_be="a number of tokens",
    )
    stored: Literal["on", "off"] = variable(
        "CIPPUS_LLM_STORED",
        "Whether the endpoint keeps completions, so that an answer that was lost is found there: `on` or `off`.",
        "off",
        must_be="on or off",
    )
    summaries: Literal["off", "live", "batch"] = variable(
        "CIPPUS_LLM_SUMMARIES",
        "Whether the language model summarises accounts: `off`, `live` (one call an account) or `batch` (a provider's "
        "batch, at half price with most).",
        "off",
        must_be="off, live or batch",
    )
    testimonials: Literal["off", "live", "batch"] = variable(
        "CIPPUS_LLM_TESTIMONIALS",
        "Whether the language model says what testimonials say of each brand and campaign: `off`, `live` (one call "
        "each) or `batch` (a provider's batch).",
        "off",
        must_be="off, live or batch",
    )
    tagging: Literal["off", "uncertain", "uncertain-batch"] = variable(
        "CIPPUS_LLM_TAGGING",
        "Whether the language model tags the posts that the local taggers are uncertain of: `off`, `uncertain` (one "
        "call a post) or `uncertain-batch` (a provider's batch).",
        "off",
        must_be="off, uncertain or uncertain-batch",
    )
    batch_command: str = variable(
        "CIPPUS_LLM_BATCH_COMMAND",
        "Command that answers a file of requests, such as `vllm run-batch`, for batches on your own machine.",
        shown="none; batches go to the endpoint's batch API",
    )
    batch_role: str = variable(
        "CIPPUS_LLM_BATCH_ROLE",
        "ARN of the IAM role under which Amazon Bedrock reads a batch's requests and writes its answers in the bucket.",
        shown="none; needed for batches of Bedrock alone",
    )
    summary_language: Annotated[str, Field(pattern="^([a-z]{2})?$")] = variable(
        "CIPPUS_LLM_SUMMARY_LANGUAGE",
        "Language of summaries by the language model, an ISO 639-1 code such as `en`.",
        "",
        must_be="a code of two lower-case letters, such as en",
        shown="the language of most of the posts",
    )
    summary_tokens: Annotated[int, Field(ge=200, le=100_000)] = variable(
        "CIPPUS_LLM_SUMMARY_TOKENS",
        "Most tokens of posts that are sent for an account, or of testimonials for a brand. They are sampled to fit.",
        3_000,
        must_be="a number of tokens from 200 to 100000",
    )


def ceiling_usd() -> Decimal | None:
    """Return the ceiling of the project in USD; None in production when it is not set."""
    given = SpendSettings.read().ceiling_usd
    if given is None and environment() is not Environment.PRODUCTION:
        return _LOCAL_CEILING_USD
    return given
