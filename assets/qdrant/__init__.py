"""The collection `cippus_text`: its points, its generations, their promotion and repair.

Belongs here: which points there should be, and when a generation is served.
Not here: engines (resources/vectors/), ranking (assets/search/).
"""
