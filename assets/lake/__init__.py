"""lake/*: the current row of every key.

Belongs here: the tables, how windows are merged into them, and how they are compared with raw/* and repaired.
Not here: how a Delta table is written (`resources/delta/`).
"""

from assets.lake.merging import LAKE_ACCOUNTS, LAKE_POSTS, LAKE_TABLES, LAKE_TESTIMONIALS, application

__all__ = ["LAKE_ACCOUNTS", "LAKE_POSTS", "LAKE_TABLES", "LAKE_TESTIMONIALS", "application"]
