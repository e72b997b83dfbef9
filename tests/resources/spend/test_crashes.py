"""Whatever crashes, gets lost or comes late: no ceiling is passed, nothing is paid twice, the ledger is the bill."""

import pytest

from tests.worlds.spend import World


@pytest.mark.parametrize("seed", range(50))
def test_the_ledger_is_the_providers_account_after_any_crash(seed: int) -> None:
    assert World(seed).play().problems == []
