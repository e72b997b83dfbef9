"""Models that run in this process, without a network.

Belongs here: the encoder, its tokenizer and files, language identification, the interface of embedding models.
Not here: models behind an endpoint (resources/llm/).
"""
