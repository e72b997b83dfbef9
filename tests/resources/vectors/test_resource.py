"""The index as a resource: which engine it opens, and addresses that are none."""

import pytest

from resources.errors import PermanentFailure
from resources.vectors.resource import QdrantResource
from resources.vectors.values import IndexUnavailableError, QdrantAddressError
from tests.fakes.answering_qdrant import SECRET


def test_the_resource_needs_an_address() -> None:
    with pytest.raises(IndexUnavailableError, match="set QDRANT_URL"), QdrantResource().open():
        pass


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("cluster:6333", "'cluster:6333'"),
        (f"user:{SECRET}@cluster:6333", "'cluster:6333'"),
        (f"https://user:{SECRET}@cluster:6333", "'cluster:6333'"),
        ("http://127.0.0.1:port", "'http://127.0.0.1:port'"),
        ("http://127.0.0.1:99999", "'http://127.0.0.1:99999'"),
        ("http://[::1", "'http://[::1'"),
        ("http://", "'http://'"),
        ("ftp://cluster", "'ftp://cluster'"),
    ],
)
def test_what_is_no_address_is_one_sentence_without_a_password(url: str, shown: str) -> None:
    for resource, setting in (
        (QdrantResource(url=url), "QDRANT_URL"),
        (QdrantResource(url="http://127.0.0.1:1", nodes=f"http://127.0.0.1:2,{url}"), "CIPPUS_QDRANT_NODES"),
    ):
        with pytest.raises(QdrantAddressError) as raised:
            resource.open().__enter__() if setting == "QDRANT_URL" else resource.cluster()
        assert str(raised.value).startswith(f"{setting} is {shown}, expected http:// or https:// and a host")
        assert SECRET not in str(raised.value)
    assert isinstance(raised.value, PermanentFailure)
