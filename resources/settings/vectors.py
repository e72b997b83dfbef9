"""Settings of the Qdrant cluster and of the embedding model."""

from typing import Annotated, ClassVar, Literal

from pydantic import Field

from resources.environment_variables import Settings, variable
from resources.settings.kinds import Count


class QdrantSettings(Settings):
    """The Qdrant cluster."""

    SECRETS: ClassVar = {"QDRANT_API_KEY": "API key of the cluster."}

    url: str = variable("QDRANT_URL", "Address of a Qdrant cluster.", shown="the embedded engine")
    quantization: Literal["none", "scalar", "turbo"] = variable(
        "CIPPUS_QDRANT_QUANTIZATION",
        "Compression of vectors, applied if the recall gate accepts it: `none`, `scalar` or `turbo`.",
        "none",
        must_be="none, scalar or turbo",
    )
    nodes: str = variable(
        "CIPPUS_QDRANT_NODES",
        "Addresses of all nodes of the cluster, separated by commas. Calls that one does not answer go to another.",
    )
    shards: Count = variable(
        "CIPPUS_QDRANT_SHARDS",
        "Shards of a new generation.",
        0,
        must_be="a number of shards",
        shown="one for each node",
    )
    replicas: Count = variable(
        "CIPPUS_QDRANT_REPLICAS",
        "Replicas of each shard. New generations have them; `cippus cluster --apply` gives them to those that exist.",
        0,
        must_be="a number of replicas",
        shown="2 where there are several nodes",
    )
    write_consistency: Count = variable(
        "CIPPUS_QDRANT_WRITE_CONSISTENCY",
        "Replicas that must confirm a write to a new generation.",
        0,
        must_be="a number of replicas",
        shown="1",
    )


class EmbeddingSettings(Settings):
    """The embedding model, local or behind an endpoint."""

    SECRETS: ClassVar = {"CIPPUS_EMBEDDINGS_API_KEY": "API key of the embeddings endpoint."}

    encoder: Literal["multilingual", "english"] = variable(
        "CIPPUS_ENCODER",
        "Local encoder: `multilingual` (multilingual-e5-small, a hundred languages) or `english` (all-MiniLM-L6-v2, "
        "more than twice as fast). After a change the next run embeds every text again and builds a new generation.",
        "multilingual",
        must_be="multilingual or english",
    )
    endpoint_url: str = variable(
        "CIPPUS_EMBEDDINGS_URL",
        "OpenAI-compatible embeddings endpoint (TEI, vLLM), such as `http://host:8080/v1`.",
        shown="the local encoder",
    )
    endpoint_model: str = variable(
        "CIPPUS_EMBEDDINGS_MODEL", "Model that the endpoint serves. It names the generation of vectors."
    )
    endpoint_requests: Annotated[int, Field(ge=1)] = variable(
        "CIPPUS_EMBEDDINGS_REQUESTS",
        "Number of concurrent requests to the endpoint.",
        8,
        must_be="a number of requests, at least 1",
    )
    endpoint_inputs: Annotated[int, Field(ge=1)] = variable(
        "CIPPUS_EMBEDDINGS_INPUTS",
        "Most texts in a request to the endpoint. When it refuses so many, fewer are sent.",
        32,
        must_be="a number of texts, at least 1",
    )
    endpoint_dimensions: Count = variable(
        "CIPPUS_EMBEDDINGS_DIMENSIONS",
        "Length of the vectors to ask the endpoint for, as a part of the generation's name.",
        0,
        must_be="a number of dimensions",
        shown="the model's own",
    )
    endpoint_query_prefix: str = variable(
        "CIPPUS_EMBEDDINGS_QUERY_PREFIX",
        "Text before each query, such as `query: ` for e5; write a blank at its end.",
        shown="none",
    )
    endpoint_passage_prefix: str = variable(
        "CIPPUS_EMBEDDINGS_PASSAGE_PREFIX",
        "Text before each post, such as `passage: ` for e5; write a blank at its end.",
        shown="none",
    )
    threads: Count = variable(
        "CIPPUS_EMBEDDER_THREADS",
        "Number of threads of the local encoder.",
        0,
        must_be="a number of threads",
        shown="the cores of this process",
    )
