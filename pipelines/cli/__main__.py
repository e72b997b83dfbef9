"""`python -m pipelines.cli` is the `cippus` command."""

from pipelines.cli.main import main

main()
