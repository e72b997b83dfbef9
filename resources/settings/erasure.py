"""Settings of the erasure of accounts."""

from typing import ClassVar

from resources.environment_variables import Settings


class ErasureSettings(Settings):
    """Erasure of accounts."""

    SECRETS: ClassVar = {
        "CIPPUS_ERASURE_KEY": "Key that hashes the ids of erased accounts, at least 32 characters. "
        "The embedded stack generates one."
    }
