"""The collection `cippus_text`: its points, its generations, their promotion and repair.

Belongs here: which points the index should hold, and when a generation is served.
Not here: engines (resources/vectors/), ranking (assets/search/).
"""
