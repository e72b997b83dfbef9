"""The web page: search, ask, creators, labelling, spending and the state of the pipeline.

Belongs here: routes, forms, templates, charts, and what a browser must be kept from.
Not here: how accounts are found, how answers are made, where labels go: `assets/`.
"""
