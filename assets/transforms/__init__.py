"""How things are computed: data in, data out. No Dagster, no clients, no resources, no files."""
