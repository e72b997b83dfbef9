"""/api/*: what the page shows, as JSON, with an OpenAPI description at /api/openapi.json.

Belongs here: parameters and shapes of JSON, errors as JSON.
Not here: what is found. The endpoints call the functions that the views call.
"""
