"""The data set of the embedded stack. A demo replaces the data of another demo."""

import hashlib
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from pipelines.local import stack
from pipelines.local.run_lock import only_run
from pipelines.samples.creators import generate
from pipelines.samples.folder import open_folder
from resources.errors import InputError

_LOADED = "loaded by hand"
_SEED = 7


@contextmanager
def prepare(home: Path, data: Path | None, accounts: int) -> Iterator[Path]:
    """Yield the folder to demo, and first wipe another demo's data from the embedded stack.

    A demo's data can be loaded again, so nothing is lost. Raise InputError, before anything is deleted, if the stack
    holds data of `cippus load` or if the folder cannot be loaded.
    """
    if data is not None:
        _make_room(home, _fingerprint(data))
        yield data
        return
    _make_room(home, f"sample creators: {accounts}, seed {_SEED}")
    with tempfile.TemporaryDirectory(prefix="cippus-") as folder:
        generate(Path(folder), accounts=accounts, seed=_SEED)
        yield Path(folder)


def record_load(home: Path) -> None:
    """Record that the stack holds data of `cippus load`."""
    (home / stack.DATASET_FILE).write_text(_LOADED)


def _make_room(home: Path, wanted: str) -> None:
    path = home / stack.DATASET_FILE
    held = path.read_text() if path.exists() else wanted
    if held == _LOADED:
        message = (
            f"{home} holds data loaded with `cippus load`, which a demo would mix with its own. "
            "Run `cippus down --wipe` first, or set CIPPUS_HOME to another folder."
        )
        raise InputError(message)
    home.mkdir(parents=True, exist_ok=True)
    with only_run(home):
        if held != wanted:
            stack.wipe(home)
        path.write_text(wanted)


def _fingerprint(folder: Path) -> str:
    """Return a 128-bit hash of a folder's files. Raise InputError if they cannot be loaded."""
    digest = hashlib.blake2b(digest_size=16)
    for name, file in sorted(open_folder(folder).items()):
        digest.update(name.encode())
        with file.path.open("rb") as opened:
            digest.update(hashlib.file_digest(opened, lambda: hashlib.blake2b(digest_size=16)).digest())
    return f"folder {digest.hexdigest()}"
