"""Who runs a command."""

import getpass
import os
import socket


def at_terminal() -> str:
    """Return the user and the machine, such as ann@laptop; behind sudo, who called it."""
    return f"{os.environ.get('SUDO_USER') or getpass.getuser()}@{socket.gethostname()}"
