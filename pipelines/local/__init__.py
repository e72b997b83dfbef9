"""The embedded stack on one machine: Postgres, S3, their processes.

Belongs here: starting, finding and stopping servers.
Not here: clients (resources/), sample data (pipelines/samples/).
"""
