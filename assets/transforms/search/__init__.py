"""Pure parts of search: BM25, fusion, ranking, retrieval metrics, points.

Belongs here: scores and rankings computed from candidate lists, payloads computed from chunks.
Not here: queries to an engine (resources/vectors/).
"""
