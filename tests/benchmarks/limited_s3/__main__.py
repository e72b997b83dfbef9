"""The command: ``python -m tests.benchmarks.limited_s3 --port 9000 --writes 100 --reads 150 --depth 1``.

Prints one line of JSON when it listens: url, port, pid. Belongs here: options, and the loop. Loopback only.
"""

import argparse
import asyncio
import gc
import json
import os
import signal
import ssl
import sys
from pathlib import Path
from typing import Any

import uvloop

from tests.benchmarks.limited_s3.protocol import S3Protocol
from tests.benchmarks.limited_s3.service import Service
from tests.benchmarks.limited_s3.settings import Faults, Limits, Settings, SettingsError
from tests.benchmarks.limited_s3.signature import Credentials

_BACKLOG = 2_048


def main() -> None:
    """Read the options and serve until SIGTERM or SIGINT."""
    options = _parser().parse_args()
    try:
        settings = _settings(options)
    except (SettingsError, ValueError) as error:
        sys.exit(f"limited_s3: {error}")
    pair = (options.access_key, options.secret_key)
    service = Service(
        settings,
        buckets=tuple(options.bucket or ("bench",)),
        seed=options.seed,
        signed=options.require_signature,
        credentials=Credentials(*pair) if all(pair) else None,
    )
    uvloop.run(_serve(service, options.port, options.certificate, options.key))


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser("python -m tests.benchmarks.limited_s3", description="S3 in memory, under limits.")
    parser.add_argument("--port", type=int, default=0, help="Loopback port; 0 takes a free one.")
    parser.add_argument("--writes", type=float, help="Writes a second under each prefix; no limit by default.")
    parser.add_argument("--reads", type=float, help="Reads a second under each prefix; no limit by default.")
    parser.add_argument("--depth", default="1", help="Segments of a key's folder that make a prefix, or `any`.")
    parser.add_argument("--burst", type=float, default=Limits.burst_seconds, help="Seconds that a full bucket holds.")
    parser.add_argument("--kind", choices=["token_bucket", "fixed_window"], default=Limits.kind)
    parser.add_argument("--deletes", choices=["debt", "keys"], default=Limits.deletes, help="A multi-delete's excess.")
    for name in ("errors", "resets", "slow", "error-in-200", "key-slow-downs"):
        parser.add_argument(f"--{name}", type=float, default=0.0, help="A share between 0 and 1.")
    parser.add_argument("--slow-seconds", type=float, default=Faults.slow_seconds)
    parser.add_argument("--settings", help="All limits and faults as JSON, instead of the options above.")
    parser.add_argument("--seed", type=int, default=0, help="Of the faults.")
    parser.add_argument("--bucket", action="append", help="A bucket that is there; may be repeated. Default: bench.")
    parser.add_argument("--certificate", type=Path, help="A certificate chain: serve TLS.")
    parser.add_argument("--key", type=Path, help="The certificate's private key.")
    parser.add_argument("--require-signature", action="store_true", help="Refuse requests that are not signed.")
    parser.add_argument("--access-key", help="With --secret-key: check every signature.")
    parser.add_argument("--secret-key")
    return parser


def _settings(options: argparse.Namespace) -> Settings:
    if options.settings is not None:
        return Settings().merged(json.loads(options.settings))
    limits: dict[str, Any] = {
        "writes_per_second": options.writes,
        "reads_per_second": options.reads,
        "depth": None if options.depth == "any" else int(options.depth),
        "burst_seconds": options.burst,
        "kind": options.kind,
        "deletes": options.deletes,
    }
    names = ("errors", "resets", "slow", "slow_seconds", "error_in_200", "key_slow_downs")
    return Settings().merged({"limits": limits, "faults": {name: getattr(options, name) for name in names}})


async def _serve(service: Service, port: int, certificate: Path | None, key: Path | None) -> None:
    loop = asyncio.get_running_loop()
    secure = None
    if certificate is not None:
        secure = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        secure.load_cert_chain(certificate, key)
    server = await loop.create_server(
        lambda: S3Protocol(service, loop), "127.0.0.1", port, ssl=secure, backlog=_BACKLOG
    )
    address = server.sockets[0].getsockname()
    gc.freeze()
    url = f"{'https' if secure else 'http'}://127.0.0.1:{address[1]}"
    sys.stdout.write(json.dumps({"url": url, "port": address[1], "pid": os.getpid()}) + "\n")
    sys.stdout.flush()
    stopped = asyncio.Event()
    for name in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(name, stopped.set)
    await stopped.wait()
    server.close()


if __name__ == "__main__":
    main()
