"""Money: what a call costs at most, and the ledger that reserves it before the call is sent.

Belongs here: prices, the ledger with its ceilings, reconciliation with a provider's account.
Not here: clients that send calls (resources/llm/), estimates for a corpus (assets/transforms/estimates/).
"""
