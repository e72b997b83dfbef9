"""Vector engines behind one interface, and the table of embeddings.

Belongs here: points, filters, generations, BM25 terms, the Qdrant engines.
Not here: ranking (assets/transforms/search/).
"""
