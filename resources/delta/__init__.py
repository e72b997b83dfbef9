"""Delta tables: snapshot, merge, compaction, purge.

Belongs here: one table's log, files and statistics.
Not here: which tables there are (assets/).
"""
