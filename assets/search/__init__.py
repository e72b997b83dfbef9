"""Search accounts by what they post, and measure how good the answers are.

Belongs here: retrieval, ranking by query, quality on gold labels.
Not here: the collection (assets/qdrant/), pure ranking (assets/transforms/search/).
"""
