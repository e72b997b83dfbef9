"""The entry point of the `cippus` command, and of `python -m pipelines.cli`."""

from pipelines.cli.supervisor import supervise


def main() -> None:
    """Run the command under a supervisor, which is there before any import that takes time."""
    supervise("cippus")
    from pipelines.cli import main as command

    command.main()


if __name__ == "__main__":
    main()
