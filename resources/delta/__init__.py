"""Delta tables on S3: snapshot, merge, maintenance, purge.

Belongs here: one table's log, files and statistics.
Not here: which tables exist (assets/).
"""
