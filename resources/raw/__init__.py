"""The raw layer on S3: windows of Parquet, their manifests, and rejected rows.

Belongs here: the format of windows and of quarantine files.
Not here: the choice of rows (assets/raw/).
"""
