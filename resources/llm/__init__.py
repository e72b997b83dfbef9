"""Clients of models that cost money.

Belongs here: OpenAI-compatible endpoints, the choice between them and the local encoder.
Not here: local models (resources/models/).
"""
