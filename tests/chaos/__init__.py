"""Seeded fault injection: a database, an S3 bucket, workers that are killed, and a proxy that injects faults.

Belongs here: the parts of a seeded run, and the bench `chaos`.
Not here: the other benches (tests/benchmarks/).
"""
