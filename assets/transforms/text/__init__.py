"""Texts: cleaning, deduplication, chunking.

Belongs here: decisions about texts.
Not here: the tokenizer and the encoder (resources/models/).
"""
