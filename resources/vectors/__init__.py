"""Vector engines behind one protocol, and the store of embeddings.

Belongs here: index values, generations, BM25 terms.
Not here: ranking (assets/transforms/search/).
"""
