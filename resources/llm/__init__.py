"""Clients of models that cost money.

Belongs here: the OpenAI-compatible embeddings endpoint.
Not here: local models (resources/models/).
"""
