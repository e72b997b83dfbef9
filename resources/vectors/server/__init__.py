"""A Qdrant server or cluster through `qdrant-client`.

Belongs here: calls with retries, health, aliases.
Not here: the engine in process (resources/vectors/edge/).
"""
