"""The readers' copy of the embedded index: what is promoted, in files that any number of processes read at a time.

Belongs here: writing the copy bucket by bucket, and exact search in it.
Not here: the engine that is written (resources/vectors/edge/).
"""
