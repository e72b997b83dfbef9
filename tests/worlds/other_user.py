"""What another user of the machine can do with a running stack: every file, port, socket and process is tried.

Run as a program by that user. It needs nothing but Python's own library, and reads from standard input what there is:
{"files": […], "ports": {name: port}, "sockets": […], "pids": {name: pid}}. It prints what it could do, by kind.
"""

import json
import os
import socket
import sys
from contextlib import suppress
from pathlib import Path

_SECONDS = 3.0
_GRPC = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\x00\x00\x00\x04\x00\x00\x00\x00\x00"
_POSTGRES = b"\x00\x00\x00\x27\x00\x03\x00\x00user\x00cippus\x00database\x00creators\x00\x00"


def _files(paths: list[str]) -> list[str]:
    done = []
    for path in paths:
        for how, flags in (("read", os.O_RDONLY), ("write", os.O_WRONLY)):
            with suppress(OSError):
                os.close(os.open(path, flags | os.O_NONBLOCK))
                done.append(f"{how} {path}")
        with suppress(OSError):
            Path(path).stat()
            done.append(f"see {path}")
        with suppress(OSError):
            Path(path).rename(f"{path}.moved")
            done.append(f"rename {path}")
    return done


def _sockets(paths: list[str]) -> list[str]:
    done = []
    for path in paths:
        with suppress(OSError), socket.socket(socket.AF_UNIX) as client:
            client.connect(path)
            done.append(f"connect {path}")
        with suppress(OSError):
            Path(path).unlink()
            done.append(f"unlink {path}")
    return done


def _answers(ports: dict[str, int]) -> dict[str, list[str]]:
    """Return port's name → the first bytes of its answers to HTTP, gRPC and Postgres."""
    asked = {
        "GET": b"GET / HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n\r\n",
        "DELETE": b"DELETE /cippus/memory HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n\r\n",
        "gRPC": _GRPC,
        "Postgres": _POSTGRES,
    }
    return {name: [f"{kind}: {_answer(port, body)}" for kind, body in asked.items()] for name, port in ports.items()}


def _answer(port: int, body: bytes) -> str:
    try:
        with socket.create_connection(("127.0.0.1", port), _SECONDS) as client:
            client.sendall(body)
            return client.recv(40).split(b"\r\n")[0].decode("latin-1")
    except OSError as error:
        return type(error).__name__


def _processes(pids: dict[str, int]) -> list[str]:
    done = []
    for name, pid in pids.items():
        for part in ("cmdline", "environ", "maps", "mem"):
            with suppress(OSError), Path(f"/proc/{pid}/{part}").open("rb") as file:
                if file.read(1):
                    done.append(f"read {part} of {name}")
        with suppress(OSError):
            list(Path(f"/proc/{pid}/fd").iterdir())
            done.append(f"list files of {name}")
        with suppress(OSError):
            os.kill(pid, 0)
            done.append(f"signal {name}")
    return done


def main() -> None:
    there = json.load(sys.stdin)
    json.dump(
        {
            "files": _files(there["files"]),
            "sockets": _sockets(there["sockets"]),
            "ports": _answers(there["ports"]),
            "processes": _processes(there["pids"]),
        },
        sys.stdout,
    )


if __name__ == "__main__":
    main()
