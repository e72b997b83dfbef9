"""`cippus evaluate`: quality and latency of search on collections with published judgements.

Belongs here: reading such collections, measuring on them.
Not here: quality on our own gold labels (assets/search/).
"""
