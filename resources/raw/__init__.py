"""The raw layer on S3: windows of Parquet and their manifests.

Belongs here: window plan, writer, store, quarantine files.
Not here: which rows are read (assets/raw/).
"""
