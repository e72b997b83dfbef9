"""`python -m resources.s3.governor`, the process that S3Resource starts; `cippus s3-governor` is for people."""

import argparse
import logging
import sys
from collections.abc import Callable
from pathlib import Path

from resources.s3.governor.service import serve
from resources.s3.governor.settings import GovernorSettingError, GovernorSettings, read_token

_OPTIONS: dict[str, Callable[[str], object]] = {
    "--upstream": str, "--port": int, "--depth": int, "--deadline": float, "--token-file": Path, "--folder": Path,
    "--ca-file": str, "--max-writes": float, "--max-reads": float, "--emf": str, "--idle-exit": float,
}  # fmt: skip
"""Options that are not given have the defaults of GovernorSettings."""


def main() -> int:
    """Run a governor; exit with 2 for arguments that cannot be used, 1 if it cannot listen."""
    parser = argparse.ArgumentParser(
        prog="s3-governor", description="The S3 request governor of this host.", argument_default=argparse.SUPPRESS
    )
    for name, parse in _OPTIONS.items():
        parser.add_argument(name, type=parse, required=name == "--upstream")
    given = vars(parser.parse_args())
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s", stream=sys.stderr)
    try:
        token = read_token(given.pop("token_file", None))
        serve(GovernorSettings(token=token, **given), logging.getLogger("cippus.s3_governor").info)
    except GovernorSettingError as error:
        parser.exit(2, f"s3-governor: {error}\n")
    except OSError as error:
        parser.exit(1, f"s3-governor: {error}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
