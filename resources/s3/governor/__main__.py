"""`python -m resources.s3.governor`: what S3Resource starts; `cippus s3-governor` is the same for people."""

import argparse
import logging
import sys
from pathlib import Path

from resources.s3.governor.service import serve
from resources.s3.governor.settings import GovernorSettingError, GovernorSettings, read_token


def main() -> int:
    """Run a governor as its arguments say; 2 for arguments that cannot be used, 1 when it cannot listen."""
    parser = argparse.ArgumentParser(prog="s3-governor", description="The S3 request governor of this host.")
    parser.add_argument("--upstream", required=True)
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--depth", type=int, default=2)
    parser.add_argument("--deadline", type=float, default=12.0)
    parser.add_argument("--host", action="append", default=[])
    parser.add_argument("--token-file", type=Path)
    parser.add_argument("--folder", type=Path)
    parser.add_argument("--ca-file", type=Path)
    parser.add_argument("--sts-host", default="")
    parser.add_argument("--max-writes", type=float)
    parser.add_argument("--max-reads", type=float)
    parser.add_argument("--emf", default="")
    parser.add_argument("--idle-exit", type=float, default=0.0)
    given = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s", stream=sys.stderr)
    try:
        settings = GovernorSettings(
            upstream=given.upstream,
            port=given.port,
            depth=given.depth,
            deadline=given.deadline,
            hosts=tuple(given.host),
            token=read_token(given.token_file) if given.token_file else "",
            folder=given.folder,
            ca_file=given.ca_file,
            sts_host=given.sts_host,
            write_ceiling=given.max_writes,
            read_ceiling=given.max_reads,
            emf=given.emf,
            idle_exit=given.idle_exit,
        )
        serve(settings, logging.getLogger("cippus.s3_governor").info)
    except GovernorSettingError as error:
        parser.exit(2, f"s3-governor: {error}\n")
    except OSError as error:
        parser.exit(1, f"s3-governor: {error}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
