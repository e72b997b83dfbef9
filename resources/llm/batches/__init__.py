"""Batches: many requests in a file, which a provider answers within a day, most at half price.

Belongs here: the providers' batch APIs, the record of each batch, and the lane that an asset sends through.
Not here: single calls (resources/llm/client.py), the ledger (resources/spend/).
"""
