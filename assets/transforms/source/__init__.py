"""Pure parts of extraction: schema, contract, windows, comparison of keys.

Belongs here: what a source row means and which rows differ.
Not here: reading a source (resources/sources/).
"""
