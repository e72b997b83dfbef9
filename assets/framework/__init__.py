"""What every asset shares.

Belongs here: the asset decorator, incremental refresh, the list of tables.
Not here: anything that belongs to one stage.
"""
