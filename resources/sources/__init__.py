"""Clients of the source databases: Postgres, Redshift, RDS snapshot exports.

Belongs here: connections, statements and files of a source, behind one protocol.
Not here: windows (resources/raw/), the contract with a source (assets/transforms/source/).
"""
