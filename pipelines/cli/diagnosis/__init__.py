"""The checks of `cippus doctor`: one module per part. A new check is a function with the decorator `diagnosis`.

Belongs here: what is tested, and the sentence and the fix of each finding.
Not here: clients and queries (resources/), the promises of stored data (pipelines/checks/).
"""
