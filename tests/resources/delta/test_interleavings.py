"""Erasure, maintenance and two writers of one table, stopped at every step: reads never fail, and nothing is lost."""

import pytest

from resources.local_stack import EmbeddedStack
from resources.s3.client import S3Resource
from tests.worlds.interleaving import Template, play, without_cache


@pytest.fixture(scope="module")
def template(stack: EmbeddedStack) -> Template:
    s3 = S3Resource(
        bucket="interleavings",
        endpoint_url=stack.s3_endpoint,
        access_key_id=stack.s3_access_key_id,
        secret_access_key=stack.s3_secret_access_key,
    )
    s3.client.create_bucket(Bucket=s3.bucket)
    return Template.build(s3)


@pytest.mark.parametrize("seed", range(50))
def test_nothing_is_lost_and_nothing_of_the_account_stays(s3: S3Resource, template: Template, seed: int) -> None:
    with without_cache():
        assert play(s3, template, seed).problem() == ""
