"""Access to S3: clients, their connection options, usage counts, and old object versions.

Belongs here: `S3Resource`, which every library that reads or writes S3 is configured from.
Not here: the request governor (governor/).
"""
