"""Serve S3 under limits: ``python -m tests.benchmarks.limited_s3 --settings '{"limits": {"writes_per_second": 100}}'``.

Prints one line of JSON when it listens: url, port, pid.
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

import uvloop

from tests.benchmarks.limited_s3.protocol import S3Protocol
from tests.benchmarks.limited_s3.service import Service
from tests.benchmarks.limited_s3.settings import Settings, SettingsError
from tests.benchmarks.limited_s3.signature import Credentials

_BACKLOG = 2_048


def main() -> None:
    """Read the options and serve until SIGTERM or SIGINT."""
    options = _parser().parse_args()
    try:
        settings = Settings().merged(json.loads(options.settings))
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
    parser.add_argument("--settings", default="{}", help="Limits and faults as JSON.")
    parser.add_argument("--seed", type=int, default=0, help="Of the faults.")
    parser.add_argument("--bucket", action="append", help="A bucket that is there; may be repeated. Default: bench.")
    parser.add_argument("--certificate", type=Path, help="A certificate chain: serve TLS.")
    parser.add_argument("--key", type=Path, help="The certificate's private key.")
    parser.add_argument("--require-signature", action="store_true", help="Refuse requests that are not signed.")
    parser.add_argument("--access-key", help="With --secret-key: check every signature.")
    parser.add_argument("--secret-key")
    return parser


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
