"""Source databases: Postgres, Redshift, RDS snapshot exports.

Belongs here: reading rows and marks through one protocol.
Not here: windows (resources/raw/), contracts (assets/transforms/source/).
"""
