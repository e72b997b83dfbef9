"""Qdrant Edge: Qdrant's engine in this process.

Belongs here: shards, files and generations in a local folder.
Not here: Qdrant servers (resources/vectors/server/).
"""
