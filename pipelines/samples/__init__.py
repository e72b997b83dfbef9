"""Data to start with: invented creators, or a folder of Parquet files.

Belongs here: making and loading source rows.
Not here: the servers they are loaded into (pipelines/local/).
"""
