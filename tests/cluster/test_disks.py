"""A node's small disk, which needs no server."""

from pathlib import Path

import pytest

from tests.cluster.nodes import QdrantNode


def test_a_small_disk_is_filled_and_freed(tmp_path: Path) -> None:
    node = QdrantNode(tmp_path / "node")
    node.mount_disk()
    if not node.has_small_disk:
        pytest.skip("needs the right to mount a file system")
    try:
        storage = tmp_path / "node" / "storage"
        node.fill_disk()
        with pytest.raises(OSError, match="No space left on device"):
            (storage / "more").write_bytes(bytes(1 << 17))
        (storage / "filler").unlink()
        (storage / "more").write_bytes(bytes(1 << 17))
    finally:
        node.unmount_disk()
    assert not list(storage.iterdir())


def test_a_node_gets_a_small_disk_where_another_of_its_number_had_one(tmp_path: Path) -> None:
    for _ in range(2):
        node = QdrantNode(tmp_path / "node")
        node.mount_disk()
        node.unmount_disk()
