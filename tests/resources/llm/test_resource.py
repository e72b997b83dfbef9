"""The LLM as a resource: what it must be configured with before it sends anything."""

from pathlib import Path

import pytest

from resources.errors import InputError
from resources.llm.resource import LlmResource
from resources.spend.resource import NoCeilingError, SpendResource
from tests.worlds.spend import ASSET


def test_nothing_paid_is_sent_in_production_without_a_ceiling(s3_less: SpendResource) -> None:
    llm = LlmResource(spend=s3_less, url="https://api.openai.com/v1", model="gpt-4o-mini", api_key="sk-secret")
    with pytest.raises(NoCeilingError, match="CIPPUS_SPEND_CEILING_USD is not set"):
        llm.open("run", ASSET)
    assert "sk-secret" not in repr(llm)


@pytest.mark.parametrize("url", ["", "https://llm.example.com/v1"])
def test_an_endpoint_without_address_or_price_is_refused(s3_less: SpendResource, url: str) -> None:
    with pytest.raises(InputError, match="CIPPUS_"):
        LlmResource(spend=s3_less, url=url, model="m").open("run", ASSET)


@pytest.fixture
def s3_less(tmp_path: Path) -> SpendResource:
    from resources.s3.client import S3Resource

    return SpendResource(s3=S3Resource(bucket="none", stack_file=str(tmp_path / "none.json")))
