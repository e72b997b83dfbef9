"""Nodes of a Qdrant cluster as processes on loopback, each with a folder, which can be killed, paused and emptied.

Where this user may mount file systems, a node's storage is a small tmpfs, which can be filled.
"""

import os
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

import httpx

from resources.vectors.resource import QdrantResource
from resources.vectors.server.replicas import plan

BINARY = os.environ.get("QDRANT_BINARY", "")
_START_SECONDS, _STOP_SECONDS = 60.0, 120.0
_DISK_MB = 1536
_FILLER = "storage/filler"


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _succeeds(*command: str) -> bool:
    return subprocess.run(command, capture_output=True, check=False).returncode == 0


@dataclass
class QdrantNode:
    """One node. ``bootstrap`` is another's address between nodes; the first node has none.

    ``has_small_disk``: whether its storage is a file system of its own.
    """

    folder: Path
    bootstrap: str = ""
    has_small_disk: bool = False
    http: int = field(default_factory=_free_port)
    grpc: int = field(default_factory=_free_port)
    peer: int = field(default_factory=_free_port)
    process: "subprocess.Popen[bytes] | None" = None

    @property
    def url(self) -> str:
        """Address for clients."""
        return f"http://127.0.0.1:{self.http}"

    @property
    def uri(self) -> str:
        """Address between nodes."""
        return f"http://127.0.0.1:{self.peer}"

    @property
    def is_running(self) -> bool:
        """Whether the process lives."""
        return self.process is not None and self.process.poll() is None

    def start(self, *, wait: bool = True) -> None:
        """Start the process; wait until it is ready."""
        self.folder.mkdir(parents=True, exist_ok=True)
        variables = {
            "QDRANT__SERVICE__HOST": "127.0.0.1", "QDRANT__SERVICE__HTTP_PORT": str(self.http),
            "QDRANT__SERVICE__GRPC_PORT": str(self.grpc), "QDRANT__CLUSTER__ENABLED": "true",
            "QDRANT__CLUSTER__P2P__PORT": str(self.peer), "QDRANT__TELEMETRY_DISABLED": "true",
            "QDRANT__STORAGE__STORAGE_PATH": str(self.folder / "storage"),
            "QDRANT__STORAGE__SNAPSHOTS_PATH": str(self.folder / "snapshots"), "QDRANT__LOG_LEVEL": "WARN",
            "QDRANT__STORAGE__PERFORMANCE__MAX_SEARCH_THREADS": "1",
        }  # fmt: skip
        # One that has joined keeps its peers; a folder that was emptied has to join again.
        joined = [] if self.bootstrap and self.bootstrap != self.uri else ["--uri", self.uri]
        joined = joined or ["--bootstrap", self.bootstrap, "--uri", self.uri]
        with (self.folder / "log").open("ab") as log:
            self.process = subprocess.Popen(
                [BINARY, *joined], cwd=self.folder, env={**os.environ, **variables}, stdout=log, stderr=log
            )
        if wait:
            self.wait()

    def wait(self) -> None:
        """Wait until the node answers."""
        deadline = time.monotonic() + _START_SECONDS
        while time.monotonic() < deadline:
            if self.process is not None and (code := self.process.poll()) is not None:  # negative: killed by a signal
                raise ChildProcessError(f"{self.url} ended with {code}: {self._end_of_log()}")
            with suppress(httpx.TransportError):
                if httpx.get(f"{self.url}/readyz", timeout=5).is_success:
                    return
            time.sleep(0.1)
        raise TimeoutError(self._end_of_log())

    def _end_of_log(self) -> str:
        return (self.folder / "log").read_text(errors="replace")[-2000:]

    def send(self, number: signal.Signals) -> None:
        """Send a signal to the process, by its pid."""
        if self.process is not None and self.is_running:
            os.kill(self.process.pid, number)

    def end(self, number: signal.Signals = signal.SIGKILL) -> None:
        """Send a signal and wait for the end."""
        self.send(signal.SIGCONT)
        self.send(number)
        if self.process is not None:
            self.process.wait(_STOP_SECONDS)

    def lose_disk(self) -> None:
        """End the process and delete its folder."""
        self.end()
        shutil.rmtree(self.folder / "storage", ignore_errors=True)  # but for a mount point

    def mount_disk(self) -> None:
        """Give the node a small disk, if this user may mount one. Call it before the first start."""
        storage = self.folder / "storage"
        storage.mkdir(parents=True, exist_ok=True)  # a node of that number may have been taken away before
        self.has_small_disk = _succeeds("mount", "-t", "tmpfs", "-o", f"size={_DISK_MB}m", "tmpfs", str(storage))

    def unmount_disk(self) -> None:
        """Take the small disk away with all that it holds. Call it after the end."""
        if self.has_small_disk:
            assert _succeeds("umount", str(self.folder / "storage"))
            self.has_small_disk = False

    def fill_disk(self) -> None:
        """Take all that is left of the small disk."""
        assert self.has_small_disk, "a disk of this machine is not to be filled"
        with (self.folder / _FILLER).open("wb", buffering=0) as filler, suppress(OSError):
            while True:
                filler.write(bytes(1 << 16))

    def free_disk(self) -> None:
        """Give back what was taken, and start the node again if it has ended meanwhile, without waiting."""
        (self.folder / _FILLER).unlink()
        if not self.is_running:
            self.start(wait=False)

    def holds(self, *texts: str) -> list[str]:
        """Return the files of the folder that contain one of some texts, as `grep` finds them."""
        # -s: the server deletes and renames files meanwhile.
        wanted = [part for text in texts for part in ("-e", text)]
        found = subprocess.run(
            ["grep", "-rlasF", *wanted, "storage"], cwd=self.folder, capture_output=True, text=True, check=False
        )
        return sorted(found.stdout.splitlines())


@dataclass
class Nodes:
    """The nodes of one cluster."""

    folder: Path
    nodes: list[QdrantNode] = field(default_factory=list)

    @property
    def url(self) -> str:
        """The first node's address."""
        return self.nodes[0].url

    @property
    def addresses(self) -> str:
        """The value of CIPPUS_QDRANT_NODES."""
        return ",".join(node.url for node in self.nodes)

    def add(self) -> QdrantNode:
        """Start another node, which joins the first that runs."""
        running = [node for node in self.nodes if node.is_running]
        node = QdrantNode(self.folder / f"node-{len(self.nodes)}", running[0].uri if running else "")
        node.mount_disk()
        self.nodes.append(node)
        node.start()
        return node

    def wait_for_consensus(self) -> None:
        """Wait until all running nodes know the same peers and a leader."""
        deadline = time.monotonic() + _START_SECONDS
        while time.monotonic() < deadline:
            with suppress(httpx.HTTPError, KeyError):
                found = [
                    httpx.get(f"{node.url}/cluster", timeout=5).json()["result"]
                    for node in self.nodes
                    if node.is_running
                ]
                peers = {tuple(sorted(one["peers"])) for one in found}
                leaders = {one["raft_info"]["leader"] for one in found}
                if len(peers) == 1 and len(leaders) == 1 and None not in leaders:
                    return
            time.sleep(0.2)
        raise TimeoutError("The nodes do not agree on their peers.")


def restore(qdrant: QdrantResource, gone: Sequence[int] = ()) -> None:
    """Take the steps that `cippus cluster --apply` takes, with a ``--gone`` for each peer that is gone."""
    with qdrant.repair() as repair:
        for step in plan(repair.state(), gone):
            repair.take(step)


@contextmanager
def started(folder: Path, count: int) -> Iterator[Nodes]:
    """Yield a cluster of some nodes. Its processes are killed afterwards, by their pids."""
    cluster = Nodes(folder)
    try:
        for _ in range(count):
            cluster.add()
        cluster.wait_for_consensus()
        yield cluster
    finally:
        for node in cluster.nodes:
            node.end()
        for node in cluster.nodes:
            node.unmount_disk()
