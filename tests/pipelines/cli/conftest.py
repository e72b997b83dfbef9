"""What every test of a command needs."""

import pytest

from resources.s3 import usage


@pytest.fixture(autouse=True)
def _own_governors() -> None:
    """Forget governors that tests before this one ended: a command says of any failure that its governor is gone."""
    with usage.measured():
        pass
