"""Taggers: how probable it is that a post belongs to each vertical.

Belongs here: features of posts, fitting taggers on labels, calibration, cross-validation.
Not here: thresholds and tags, tables and assets (`assets/verticals/`).
"""
