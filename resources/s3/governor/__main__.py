"""`python -m resources.s3.governor`, the process that S3Resource starts; `cippus s3-governor` is for people."""

import argparse
import logging
import sys
from pathlib import Path

from resources.s3.governor.service import serve
from resources.s3.governor.settings import GovernorSettingError, GovernorSettings, read_token


def main() -> int:
    """Run a governor; exit with 2 for arguments that cannot be used, 1 if it cannot listen."""
    parser = argparse.ArgumentParser(prog="s3-governor", description="The S3 request governor of this host.")
    parser.add_argument("--upstream", required=True)
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--depth", type=int, default=2)
    parser.add_argument("--deadline", type=float, default=12.0)
    parser.add_argument("--token-file", type=Path)
    parser.add_argument("--folder", type=Path)
    parser.add_argument("--ca-file", default="")
    parser.add_argument("--max-writes", type=float, dest="write_ceiling")
    parser.add_argument("--max-reads", type=float, dest="read_ceiling")
    parser.add_argument("--emf", default="")
    parser.add_argument("--idle-exit", type=float, default=0.0)
    given = vars(parser.parse_args())
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s", stream=sys.stderr)
    try:
        token = read_token(given.pop("token_file"))
        serve(GovernorSettings(token=token, **given), logging.getLogger("cippus.s3_governor").info)
    except GovernorSettingError as error:
        parser.exit(2, f"s3-governor: {error}\n")
    except OSError as error:
        parser.exit(1, f"s3-governor: {error}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
