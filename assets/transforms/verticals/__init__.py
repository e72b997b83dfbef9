"""Verticals: scores, thresholds, tags.

Belongs here: what is computed from vectors, scores and labels about verticals.
Not here: labels and their votes, tables and assets (`assets/verticals/`).
"""
