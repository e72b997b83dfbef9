"""The `cippus` command: one module per command group.

Belongs here: arguments, exit codes, output.
Not here: what a command does (assets/, pipelines/local/).
"""
