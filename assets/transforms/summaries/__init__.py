"""Extractive summaries: what an account says, in sentences of its own posts."""
