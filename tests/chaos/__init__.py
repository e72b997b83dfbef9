"""The world of the bench `chaos`: a database, an S3 bucket, workers that are killed, and a proxy that makes faults.

Belongs here: everything that a seeded run is made of. Not here: running many of them (benchmarks/chaos.py, tests).
"""
