"""Keys of the embedded S3, so that no other user of the machine reaches its internal ports.

SeaweedFS' parts speak to each other by gRPC and HTTP on loopback ports, which every local user can open. With these
keys, gRPC needs a certificate of this home, and reads and writes of volumes need a token that is signed in this home.
"""

import json
import secrets
from pathlib import Path

from resources.local_stack import write_private

FOLDER = "s3.keys"
_PARTS = ("master", "volume", "filer", "s3", "client")


def write_keys(home: Path, server_folder: Path) -> None:
    """Write new keys to the home, and `security.toml`, which SeaweedFS looks for in its working folder."""
    folder = home / FOLDER
    folder.mkdir(mode=0o700, exist_ok=True)
    import trustme  # takes .2 s of CPU, which only the first start of a stack should pay

    authority = trustme.CA()
    certificate = authority.issue_cert("127.0.0.1")
    write_private(folder / "authority.pem", authority.cert_pem.bytes().decode())
    write_private(folder / "certificate.pem", certificate.cert_chain_pems[0].bytes().decode())
    write_private(folder / "key.pem", certificate.private_key_pem.bytes().decode())
    write_private(server_folder / "security.toml", _configuration(folder))


def _configuration(folder: Path) -> str:
    """Return SeaweedFS' security.toml. A path stands in a basic string of TOML, which JSON's strings are."""
    lines = [f'[{table}]\nkey = "{secrets.token_urlsafe(32)}"' for table in ("jwt.signing", "jwt.signing.read")]
    lines.append(f"[grpc]\nca = {json.dumps(str(folder / 'authority.pem'))}")
    certificate, key = (json.dumps(str(folder / name)) for name in ("certificate.pem", "key.pem"))
    lines += [f"[grpc.{part}]\ncert = {certificate}\nkey = {key}" for part in _PARTS]
    return "\n".join(lines) + "\n"
