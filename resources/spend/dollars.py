"""USD as people read them."""

import math


def dollars(amount: float) -> str:
    """Return an amount with cents, and a smaller one with two significant digits, so that no price reads as 0."""
    places = 2 if amount in (0, math.inf) or amount >= 0.1 else 1 - math.floor(math.log10(amount))
    return f"{amount:,.{places}f}"
