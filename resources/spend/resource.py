"""The Dagster resource of money: the ledger on the lake's S3, its ceilings, and the prices."""

from decimal import Decimal

from dagster import ConfigurableResource
from pydantic import Field

from resources.errors import InputError
from resources.s3.client import S3Resource
from resources.spend.account import PROJECT
from resources.spend.ledger import Ledger
from resources.spend.prices import PriceBook
from resources.spend.spender import Spender
from resources.spend.store import S3Store


class NoCeilingError(InputError):
    """No ceiling is set in production; nothing paid is sent."""


class SpendResource(ConfigurableResource["SpendResource"]):
    """Prices and the ledger. Without a ``ceiling_usd`` nothing paid is sent."""

    s3: S3Resource
    ceiling_usd: str = Field(default="", description="Ceiling of the project in USD; blank means nothing paid is sent.")
    prices: str = Field(default="", description="File of your own prices; blank means none.")

    @property
    def store(self) -> S3Store:
        """The ledger's objects."""
        return S3Store(self.s3)

    @property
    def ledger(self) -> Ledger:
        """The ledger, for reading and for setting ceilings."""
        return Ledger(self.store, {PROJECT: Decimal(self.ceiling_usd)} if self.ceiling_usd else {})

    def price_book(self) -> PriceBook:
        """Return every known price, your own first."""
        return PriceBook.with_own(self.prices)

    def spender(self, run: str, asset: str, model: str) -> Spender:
        """Return what a run spends through. Raises NoCeilingError."""
        if not self.ceiling_usd:
            raise NoCeilingError(
                "CIPPUS_SPEND_CEILING_USD is not set; nothing paid is sent without it in production. "
                "Set it to the most USD that this project may spend."
            )
        return Spender(self.ledger, run, asset, model)
