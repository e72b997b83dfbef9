"""Which data set the embedded stack holds, so that a demo shows that one alone."""

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
    """The folder to demo; an embedded stack that holds another demo's data is emptied first.

    What a demo loaded can be loaded again, so nothing is lost by that. Data loaded with `cippus load` is left alone:
    then this raises InputError, as it does for a folder that cannot be loaded, before anything is deleted.
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
    """Remember that somebody loaded data of their own."""
    (home / stack.DATASET_FILE).write_text(_LOADED)


def _make_room(home: Path, wanted: str) -> None:
    path = home / stack.DATASET_FILE
    held = path.read_text() if path.exists() else wanted
    if held == _LOADED:
        message = (
            f"{home} holds data loaded with `cippus load`, which a demo would mix with its own: "
            "run `cippus down --wipe` first, or set CIPPUS_HOME to another folder."
        )
        raise InputError(message)
    home.mkdir(parents=True, exist_ok=True)
    with only_run(home):
        if held != wanted:
            stack.wipe(home)
        path.write_text(wanted)


def _fingerprint(folder: Path) -> str:
    """What a folder's files contain, in 128 bits; raises InputError where they cannot be loaded."""
    digest = hashlib.blake2b(digest_size=16)
    for name, file in sorted(open_folder(folder).items()):
        digest.update(name.encode())
        with file.path.open("rb") as opened:
            while block := opened.read(1 << 20):
                digest.update(block)
    return f"folder {digest.hexdigest()}"
