"""Land the source tables as immutable windows of Parquet.

Belongs here: extraction, the high-water mark, the comparison of keys.
Not here: the sources (resources/sources/), the format of a window (resources/raw/), merging (assets/lake.py).
"""
