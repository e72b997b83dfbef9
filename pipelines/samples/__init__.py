"""Source data to start with: invented creators, or a folder of Parquet files.

Belongs here: generating and loading source rows.
Not here: the servers that store them (pipelines/local/).
"""
