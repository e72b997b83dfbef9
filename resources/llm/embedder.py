"""The Dagster resource of the embedding model: the local encoder, or an endpoint."""

from functools import lru_cache
from typing import TYPE_CHECKING

import dagster as dg
from pydantic import Field

from resources.cpu import available_cores
from resources.models.embedder import E5Model, EmbeddingModel, MiniLmModel

if TYPE_CHECKING:  # importing the endpoints' client takes a second, which only those who have one should pay
    from resources.llm.embedding_endpoint import EndpointModel, Form
    from resources.llm.endpoint import Endpoint


ENCODERS: dict[str, type[MiniLmModel] | type[E5Model]] = {"english": MiniLmModel, "multilingual": E5Model}
"""CIPPUS_ENCODER → the local encoder."""


class EmbedderResource(dg.ConfigurableResource["EmbedderResource"]):
    """The embedding model of this process, opened at first use and then kept.

    With an ``endpoint_url``, an OpenAI-compatible server such as TEI or vLLM embeds the texts.
    """

    encoder: str = Field(
        default="multilingual",
        pattern="^(english|multilingual)$",
        description="The local encoder. Its tokenizer measures and cuts the texts of an endpoint too.",
    )
    threads: int = Field(
        default=0,
        ge=0,
        description="Cores to use; 0 means the cores of this process, by affinity and by its container's quota.",
    )
    batch_tokens: int = Field(
        default=0,
        ge=0,
        description="Tokens in a batch, padding included; 0 means the fastest measured size (1,024 on a CPU, 65,536 "
        "on a GPU, 8,192 in a request to an endpoint).",
    )
    endpoint_url: str = Field(default="", description="Base address of the endpoint, such as http://host:8080/v1.")
    endpoint_model: str = Field(default="", description="The model's name there; it names the vectors' generation.")
    endpoint_api_key: str = Field(default="", repr=False, description="Sent as a bearer token, if set.")
    endpoint_requests: int = Field(default=8, ge=1, description="Concurrent requests.")
    endpoint_inputs: int = Field(default=32, ge=1, description="Most texts in a request; 32 is TEI's limit.")
    endpoint_dimensions: int = Field(default=0, ge=0, description="Length of vectors to ask for; 0 means the model's.")
    endpoint_query_prefix: str = Field(default="", description="Put before each query.")
    endpoint_passage_prefix: str = Field(default="", description="Put before each text of a post.")

    def model(self) -> EmbeddingModel:
        """Return the open model.

        Raises ModelFilesError when its files are missing or damaged, and EndpointSettingError for an endpoint with a
        bad address or without a model's name.
        """
        if not self.endpoint_url:
            return _open_model(self.encoder, self.threads or available_cores(), self.batch_tokens or None)
        from resources.llm.embedding_endpoint import Form
        from resources.llm.endpoint import Endpoint

        endpoint = Endpoint(self.endpoint_url, self.endpoint_model, self.endpoint_api_key)
        form = Form(
            self.endpoint_inputs, self.endpoint_dimensions, self.endpoint_query_prefix, self.endpoint_passage_prefix
        )
        return _open_endpoint(self.encoder, endpoint, self.endpoint_requests, self.batch_tokens or None, form)

    @property
    def model_name(self) -> str:
        """Return the name of the model without opening it."""
        return self.endpoint_model if self.endpoint_url else ENCODERS[self.encoder].name


# Dagster copies a resource for every step: a model stored in the resource would be opened again by each.
@lru_cache(maxsize=1)
def _open_model(encoder: str, threads: int, batch_tokens: int | None) -> MiniLmModel | E5Model:
    return ENCODERS[encoder](threads, batch_tokens)


@lru_cache(maxsize=1)
def _open_endpoint(
    encoder: str, endpoint: "Endpoint", requests: int, batch_tokens: int | None, form: "Form"
) -> "EndpointModel":
    from resources.llm.embedding_endpoint import EndpointModel

    tokenizer = ENCODERS[encoder].open_tokenizer()
    return EndpointModel(endpoint, tokenizer, requests=requests, request_tokens=batch_tokens, form=form)
