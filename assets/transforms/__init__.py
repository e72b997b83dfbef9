"""How data is computed: data in, data out.

Belongs here: pure functions over tables, texts and numbers.
Not here: Dagster, clients, resources.
"""
