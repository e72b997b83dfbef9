"""Tombstones of erased accounts, and the scan of stored bytes.

Belongs here: hashes of erased keys, search terms, decoding of stored objects.
Not here: deletion of anything (assets/erasure/).
"""
