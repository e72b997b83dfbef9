"""A Qdrant cluster that speaks REST on loopback: qdrant-client's in-memory engine behind several nodes, and faults."""

import contextlib
import json
import re
import socket
import struct
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import urlsplit

from qdrant_client import models

from tests.fakes.qdrant_cluster import DISK_FULL, PANIC, WRONG_VECTOR, Cluster

Answer = tuple[int, Any]


@contextmanager
def running(nodes: int = 1) -> Iterator[Cluster]:
    """A cluster on ports of its own, stopped afterwards."""
    cluster, servers = Cluster(), []
    for number in range(nodes):
        attributes = {"cluster": cluster, "number": number}
        server = ThreadingHTTPServer(("127.0.0.1", 0), type("Handler", (_Handler,), attributes))
        server.daemon_threads = True
        threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}).start()
        servers.append(server)
        cluster.addresses.append(f"http://127.0.0.1:{server.server_port}")
    try:
        yield cluster
    finally:
        cluster.released.set()
        for server in servers:
            server.shutdown()
            server.server_close()
        cluster.client.close()


class _Handler(BaseHTTPRequestHandler):
    cluster: Cluster
    number: int
    protocol_version = "HTTP/1.1"

    def log_message(self, format: str, *args: object) -> None:
        """Stay quiet."""

    def _serve(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        self.cluster.asked.append(f"{self.command} {urlsplit(self.path).path}")
        faults, is_last = self.cluster.faults, self.number == len(self.cluster.addresses) - 1
        if "reset" in faults or (faults & {"missing node", "lost disk"} and is_last):
            self._reset()
            return
        if "slow" in faults:
            self.cluster.released.wait(30)
        if "401" in faults:
            self._answer(401, {"status": {"error": "Invalid API key or JWT"}})
        elif "503" in faults:
            self._answer(503, {"status": {"error": "Service Unavailable"}})
        elif "proxy" in faults:
            self._answer(502, "<html>no upstream</html>")
        else:
            with self.cluster.lock:
                self._answer(*self._routed(json.loads(body or b"{}")))

    do_GET = do_PUT = do_POST = do_DELETE = do_PATCH = _serve  # noqa: N815

    def _reset(self) -> None:
        """Close so that the client gets a reset and not an end."""
        self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.close_connection = True
        self.connection.close()

    def _answer(self, status: int, content: Any) -> None:
        body = (content if isinstance(content, str) else json.dumps(content)).encode()
        with contextlib.suppress(OSError):  # the client may have gone away
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

    def _routed(self, body: dict[str, Any]) -> Answer:
        path = urlsplit(self.path).path
        for method, pattern, route in ROUTES:
            if method == self.command and (match := re.fullmatch(pattern, path)):
                try:
                    found = route(self, body, *match.groups())
                except ValueError as error:
                    missing = "not found" in str(error)
                    return 404 if missing else 400, {"status": {"error": str(error)}}
                if isinstance(found, tuple):
                    return found
                return 200, found if path == "/" else {"result": _plain(found), "status": "ok", "time": 0.0}
        return 404, {"status": {"error": f"no such call: {self.command} {path}"}}

    def version(self, _: dict[str, Any]) -> Any:
        skewed = "version skew" in self.cluster.faults and self.number == len(self.cluster.addresses) - 1
        return {"title": "qdrant", "version": "1.15.4" if skewed else "1.16.2"}

    def collections(self, _: dict[str, Any]) -> Any:
        return self.cluster.client.get_collections()

    def exists(self, _: dict[str, Any], name: str) -> Any:
        return {"exists": self.cluster.client.collection_exists(name)}

    def info(self, _: dict[str, Any], name: str) -> Any:
        found = _plain(self.cluster.client.get_collection(name))
        found["config"]["params"]["replication_factor"] = len(self.cluster.addresses)
        found["config"]["optimizer_config"]["indexing_threshold"] = self.cluster.bulk.get(name, 10_000)
        if "optimiser stuck" in self.cluster.faults:
            found["status"] = "yellow"
        if "optimiser failed" in self.cluster.faults:
            found |= {"status": "red", "optimizer_status": {"error": "cannot build HNSW: out of memory"}}
        return found

    def create(self, body: dict[str, Any], name: str) -> Any:
        asked = models.CreateCollection(**body)
        self.cluster.bulk[name] = (body.get("optimizers_config") or {}).get("indexing_threshold", 10_000)
        return self.cluster.client.create_collection(
            name, vectors_config=asked.vectors, sparse_vectors_config=asked.sparse_vectors, metadata=asked.metadata
        )

    def update(self, body: dict[str, Any], name: str) -> Any:
        threshold = (body.get("optimizers_config") or {}).get("indexing_threshold")
        if threshold is not None:
            self.cluster.bulk[name] = threshold
        if body.get("metadata"):
            self.cluster.client.update_collection(name, metadata=body["metadata"])
        return True

    def drop(self, _: dict[str, Any], name: str) -> Any:
        return self.cluster.client.delete_collection(name)

    def index(self, _: dict[str, Any], name: str) -> Any:
        self.cluster.client.get_collection(name)
        return {"operation_id": 1, "status": "completed"}

    def upsert(self, body: dict[str, Any], name: str) -> Any:
        for fault, status, message in (
            ("full disk", 500, DISK_FULL),
            ("internal error", 500, PANIC),
            ("bad request", 400, WRONG_VECTOR),
        ):
            if fault in self.cluster.faults:
                return status, {"status": {"error": message}}
        points = [models.PointStruct(**point) for point in body["points"]]
        if "half-applied upsert" in self.cluster.faults:
            self.cluster.client.upsert(name, points[: len(points) // 2])
            return {"operation_id": 1, "status": "acknowledged"}
        return self.cluster.client.upsert(name, points)

    def retrieve(self, body: dict[str, Any], name: str) -> Any:
        return self.cluster.client.retrieve(
            name, body["ids"], with_payload=body.get("with_payload", True), with_vectors=body.get("with_vector", False)
        )

    def scroll(self, body: dict[str, Any], name: str) -> Any:
        asked = models.ScrollRequest(**body)
        records, offset = self.cluster.client.scroll(
            name, scroll_filter=asked.filter, limit=asked.limit or 10, offset=asked.offset,
            with_payload=asked.with_payload or False, with_vectors=asked.with_vector or False,
        )  # fmt: skip
        return {"points": _plain(records), "next_page_offset": offset}

    def count(self, body: dict[str, Any], name: str) -> Any:
        return self.cluster.client.count(name, count_filter=models.CountRequest(**body).filter, exact=True)

    def delete(self, body: dict[str, Any], name: str) -> Any:
        return self.cluster.client.delete(name, models.FilterSelector(**body))

    def batch(self, body: dict[str, Any], name: str) -> Any:
        operations = [models.OverwritePayloadOperation(**operation) for operation in body["operations"]]
        return self.cluster.client.batch_update_points(name, operations)

    def query(self, body: dict[str, Any], name: str) -> Any:
        asked = models.QueryRequest(**body)
        query: Any = asked.query.nearest if isinstance(asked.query, models.NearestQuery) else asked.query
        return self.cluster.client.query_points(
            name, query=query, using=asked.using, query_filter=asked.filter, search_params=asked.params,
            limit=asked.limit or 10, with_payload=asked.with_payload or False,
        )  # fmt: skip

    def aliases(self, _: dict[str, Any]) -> Any:
        return self.cluster.client.get_aliases()

    def swap(self, body: dict[str, Any]) -> Any:
        kinds = {"delete_alias": models.DeleteAliasOperation, "create_alias": models.CreateAliasOperation}
        operations = [kinds[kind](**{kind: of}) for action in body["actions"] for kind, of in action.items()]
        self.cluster.client.update_collection_aliases(operations)
        if "alias race" in self.cluster.faults:  # another promoter comes right after
            first = models.CreateAlias(collection_name="cippus_text_v1", alias_name="cippus_text")
            self.cluster.client.update_collection_aliases([models.CreateAliasOperation(create_alias=first)])
        return True

    def peers(self, _: dict[str, Any]) -> Any:
        known = [number for number in range(len(self.cluster.addresses)) if 101 + number not in self.cluster.removed]
        known = known[:-1] if "missing node" in self.cluster.faults else known
        peers = {str(101 + number): {"uri": f"http://node-{number}:6335/"} for number in known}
        raft = {"term": 1, "commit": 1, "pending_operations": 0, "leader": 101, "role": "Leader", "is_voter": True}
        status = {"consensus_thread_status": "working", "last_update": "2024-01-01T00:00:00Z"}
        if "consensus stopped" in self.cluster.faults and self.number == len(self.cluster.addresses) - 1:
            status = {"consensus_thread_status": "stopped_with_err", "err": "No space left on device (os error 28)"}
        return {"status": "enabled", "peer_id": 101 + self.number, "peers": peers, "raft_info": raft,
                "consensus_thread_status": status, "message_send_failures": self._failures()}  # fmt: skip

    def _failures(self) -> Any:
        if "lost disk" not in self.cluster.faults:
            return {}
        failure = {"count": 9, "latest_error": "tcp connect error", "latest_error_timestamp": "2024-01-01T00:00:00Z"}
        return {f"http://node-{len(self.cluster.addresses) - 1}:6335/": failure}

    def shards(self, _: dict[str, Any], name: str) -> Any:
        points, last = self.cluster.client.count(name).count, len(self.cluster.addresses) - 1
        states = ["Active"] * (last + 1)
        if self.cluster.faults & {"dead replica", "lost disk"}:
            states[last] = "Dead"
        fewer = int("unequal replicas" in self.cluster.faults and self.number == last)
        here = {"shard_id": 0, "points_count": points - fewer, "state": states[self.number]}
        others = [
            {"shard_id": 0, "peer_id": 101 + number, "state": state}
            for number, state in enumerate(states)
            if number != self.number
            and not ("missing replica" in self.cluster.faults and number == last)
            and 101 + number not in self.cluster.removed
        ]
        local = [] if "missing replica" in self.cluster.faults and self.number == last else [here]
        return {"peer_id": 101 + self.number, "shard_count": 1, "local_shards": local, "remote_shards": others,
                "shard_transfers": []}  # fmt: skip

    def place(self, body: dict[str, Any], name: str) -> Any:
        """Copy a shard to another node, which has it at once."""
        self.cluster.client.get_collection(name)
        asked = models.ReplicateShardOperation(**body).replicate_shard
        if asked.to_peer_id != 100 + len(self.cluster.addresses):
            return 400, {"status": {"error": f"Peer {asked.to_peer_id} has shard {asked.shard_id} already"}}
        self.cluster.faults.discard("missing replica")
        return True

    def remove(self, _: dict[str, Any], peer: str) -> Any:
        self.cluster.removed.add(int(peer))
        return True


def _plain(value: Any) -> Any:
    if isinstance(value, list):
        return [_plain(item) for item in value]
    return json.loads(value.model_dump_json()) if hasattr(value, "model_dump_json") else value


_COLLECTION = r"/collections/([^/]+)"
ROUTES: list[tuple[str, str, Callable[..., Any]]] = [
    ("GET", "/", _Handler.version),
    ("GET", "/collections", _Handler.collections),
    ("GET", "/aliases", _Handler.aliases),
    ("POST", "/collections/aliases", _Handler.swap),
    ("GET", "/cluster", _Handler.peers),
    ("DELETE", "/cluster/peer/([0-9]+)", _Handler.remove),
    ("GET", _COLLECTION, _Handler.info),
    ("PUT", _COLLECTION, _Handler.create),
    ("PATCH", _COLLECTION, _Handler.update),
    ("DELETE", _COLLECTION, _Handler.drop),
    ("GET", f"{_COLLECTION}/exists", _Handler.exists),
    ("GET", f"{_COLLECTION}/cluster", _Handler.shards),
    ("POST", f"{_COLLECTION}/cluster", _Handler.place),
    ("PUT", f"{_COLLECTION}/index", _Handler.index),
    ("PUT", f"{_COLLECTION}/points", _Handler.upsert),
    ("POST", f"{_COLLECTION}/points", _Handler.retrieve),
    ("POST", f"{_COLLECTION}/points/scroll", _Handler.scroll),
    ("POST", f"{_COLLECTION}/points/count", _Handler.count),
    ("POST", f"{_COLLECTION}/points/delete", _Handler.delete),
    ("POST", f"{_COLLECTION}/points/batch", _Handler.batch),
    ("POST", f"{_COLLECTION}/points/query", _Handler.query),
]
