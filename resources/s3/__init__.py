"""S3 clients, their options, usage and leftovers.

Belongs here: one client set for every library that reaches S3.
Not here: the request governor itself (governor/).
"""
