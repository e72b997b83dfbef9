"""Erase an account from every layer, and prove it.

Belongs here: finding the account's keys, rewriting every stage, the receipt.
Not here: tombstones and the byte scan (resources/erasure/), the command (pipelines/cli/erase.py).
"""
