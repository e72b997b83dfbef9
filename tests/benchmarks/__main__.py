"""Run one benchmark: `make bench NAME=throttle`, or `python -m tests.benchmarks throttle --json`."""

import sys

from pipelines.cli.supervisor import supervise


def main() -> int:
    """Run the bench that the arguments name, so that a signal ends it with all that it started."""
    supervise("bench")
    from tests.benchmarks import command

    return command.main()


if __name__ == "__main__":
    sys.exit(main())
