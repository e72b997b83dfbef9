"""Scenarios on real Qdrant servers: `make test-cluster QDRANT_BINARY=/path/to/qdrant`. Without one they are skipped.

Belongs here: nodes as processes, faults of nodes, what must hold afterwards.
Not here: the same calls against the client's in-memory engine (tests/resources/vectors/server/).
"""
