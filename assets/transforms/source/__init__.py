"""Pure functions of extraction: schema, contract, casts, windows, comparison of keys.

Belongs here: the meaning of source rows, and differences between rows.
Not here: reading a source (resources/sources/).
"""
