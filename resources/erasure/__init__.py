"""Tombstones of erased accounts, and the scan of stored bytes.

Belongs here: hashes of erased keys, search terms, decoding what is stored.
Not here: removing anything (assets/erasure/).
"""
