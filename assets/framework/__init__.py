"""Code that every asset shares.

Belongs here: the asset decorator, incremental refresh, the list of tables.
Not here: code of one stage.
"""
