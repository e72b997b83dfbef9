"""A Qdrant server or cluster.

Belongs here: calls through qdrant-client, their retry policy, the health of the nodes.
Not here: the engine in this process (resources/vectors/edge/).
"""
