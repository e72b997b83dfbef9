"""Redirects of an endpoint: followed within its host, which alone gets the key."""

import numpy as np
import pytest

from resources.llm.endpoint import PermanentEndpointError
from resources.models.tokenizer import WordPieceTokenizer
from tests.fakes.embedding_server import Server
from tests.worlds.endpoint_model import KEY, embed_all, expected, model


@pytest.mark.parametrize("location", ["/v1/other/", "other/", "{origin}/v1/other/"])
def test_a_redirect_within_the_host_is_followed(server: Server, tokenizer: WordPieceTokenizer, location: str) -> None:
    origin = server.url.removesuffix("/v1")
    server.faults = [(307, b"", {"Location": location.format(origin=origin)})]
    np.testing.assert_allclose(embed_all(model(server, tokenizer), ["a b"]), expected(["a b"]), rtol=1e-6)
    assert [body["path"] for body in server.bodies] == ["/v1/embeddings", "/v1/other/"]
    assert server.bodies[1]["input"] == ["a b"]
    assert server.headers[1]["Authorization"] == f"Bearer {KEY}"


@pytest.mark.parametrize(
    "location", ["http://localhost:9/v1?token=x", "https://example.invalid/v1", "//other.invalid/"]
)
def test_no_other_host_gets_the_key(server: Server, tokenizer: WordPieceTokenizer, location: str) -> None:
    server.faults = [(308, b"", {"Location": location})] * 9
    with pytest.raises(PermanentEndpointError, match=r"answered 308 .* It redirects to .*, another host") as raised:
        embed_all(model(server, tokenizer), ["a b"])
    assert "token" not in str(raised.value)
    assert len(server.requests) == 1


def test_redirects_without_end_are_given_up(server: Server, tokenizer: WordPieceTokenizer) -> None:
    server.faults = [(307, b"", {"Location": "/v1/embeddings"})] * 99
    with pytest.raises(PermanentEndpointError, match="answered 307"):
        embed_all(model(server, tokenizer), ["a b"])
    assert len(server.requests) == 6
