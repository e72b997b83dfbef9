"""The vector index and the embedding model: connection, version, permissions, and whether they belong together."""

from collections.abc import Iterator
from importlib.metadata import version
from pathlib import Path

from pipelines.cli.diagnosis.registry import Finding, Parts, Status, diagnosis
from resources.llm.embedder import ENCODERS
from resources.vectors.resource import QdrantResource

_FIX = "Start Qdrant, and correct QDRANT_URL, CIPPUS_QDRANT_NODES and QDRANT_API_KEY."
_LOCKED = "Wait for the run that uses the index to end."
_LOCK_SECONDS = 2.0


@diagnosis("Qdrant nodes", _FIX)
def nodes(parts: Parts) -> Iterator[Finding]:
    """Test every node of a Qdrant cluster: whether it answers, its version, its replicas."""
    qdrant = parts.made.qdrant
    cluster = qdrant.cluster()
    if cluster is None:
        yield Finding.ok("The vector index is embedded.")
        return
    from qdrant_client.common.version_check import is_compatible

    client = version("qdrant-client")
    for node in cluster.answering:
        if is_compatible(client, node.version):
            yield Finding.ok(f"Qdrant {node.version} at {node.address} answers.")
        else:
            text = f"Qdrant at {node.address} is {node.version}, and the client is {client}."
            yield Finding.error(text, "Bring both to the same minor version; see docs/qdrant.md.")
    for problem in cluster.problems():
        sentence, _, fix = problem.partition(". ")
        status = Status.ERROR if problem in cluster.absent() else Status.WARNING
        yield Finding(status, f"{sentence.rstrip('.')}.", fix or _FIX)


@diagnosis("vector index", _LOCKED, Status.WARNING)
def generations(parts: Parts) -> Iterator[Finding]:
    """Test that the index opens and lets aliases be changed, and that the encoder made the served vectors."""
    qdrant = parts.made.qdrant
    if not qdrant.url and not Path(qdrant.edge_path).exists():
        yield Finding.ok("There is no vector index yet; a run makes it.")
        return
    given = {name: getattr(qdrant, name) for name in QdrantResource.model_fields}
    with QdrantResource(**{**given, "lock_timeout_seconds": _LOCK_SECONDS}).generations() as found:
        found.require_rights()
        serving = found.serving()
    if serving is None:
        yield Finding.warning("No collection is served.", "Run the lineage: cippus run.")
        return
    model = parts.made.embedder.model_name
    if serving.index_config.model == model:
        yield Finding.ok(f"{serving.name} is served, and aliases may be changed.")
    else:
        text = f"{serving.name} is served with vectors of {serving.index_config.model}, and the encoder is {model}."
        yield Finding.error(text, "Set the encoder back, or run the lineage, which builds a generation for it.")


_ENCODER = "Start the endpoint and correct CIPPUS_EMBEDDINGS_URL, or repeat make setup for the local encoder."


@diagnosis("embedding model", _ENCODER)
def encoder(parts: Parts) -> Iterator[Finding]:
    """Test that an endpoint embeds a word, or that the files of the local encoder are there. They are not opened."""
    embedder = parts.made.embedder
    if embedder.endpoint_url:
        embedder.model().embed_all(["cippus"])
        yield Finding.ok(f"The embeddings endpoint answers for {embedder.endpoint_model}.")
    else:
        ENCODERS[embedder.encoder].files.installed()
        yield Finding.ok(f"The files of the local encoder {embedder.model_name} are there.")
