"""Pure parts of search: BM25, fusion, ranking, retrieval metrics, points.

Belongs here: scores and orders computed from candidate lists.
Not here: asking an engine (resources/vectors/).
"""
