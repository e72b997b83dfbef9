"""Land the source tables as immutable windows of Parquet.

Belongs here: extraction up to the high-water mark, key reconciliation.
Not here: clients of sources (resources/sources/), the format of windows (resources/raw/), merging (assets/lake.py).
"""
