"""A governor whose clients need no token, for tests that send requests byte by byte. Cippus itself starts none."""

import sys
from unittest.mock import patch

from resources.s3.governor import __main__ as program
from resources.s3.governor.service import run

if __name__ == "__main__":
    with patch.object(program, "serve", run):
        sys.exit(program.main())
