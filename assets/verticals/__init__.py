"""vertical/*: scores of posts and accounts for verticals, and the tags that follow.

Belongs here: the tables of scores, thresholds and tags, and their assets.
Not here: formulas (`assets/transforms/verticals/`), labels (`assets/labels.py`).
"""
