"""Run a command in a child process, so that a signal ends it at any moment: in an import or a native call too.

The libraries of a run replace signal handlers, and Python runs handlers only between its own instructions. So this
process waits and does nothing else. Import nothing heavy here: signals before `supervise` end Python's own way.
"""

import ctypes
import os
import select
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress

ENDING = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
"""The exit code is 128 and the signal's number: 130, 143, 129."""
_WORKER_SECONDS, _KILLED_SECONDS, _CHILDREN_SECONDS, _END_SECONDS = 1.5, 2.0, 3.0, 4.0
"""Seconds after the signal until which the command may end, may die of SIGKILL, until which its own processes may end,
and die of SIGKILL. A busy machine takes the rest of five seconds."""
_MOST_CHILDREN_SECONDS = 1.5
_POLL_SECONDS = 0.05
"""An ended child interrupts a wait; this is for what else a wait asks about."""
GO_ON = "What was finished is kept; run the command again to go on."
_PR_SET_CHILD_SUBREAPER = 36
_SHOW_CURSOR = "\r\x1b[J\x1b[?25h"

_on_stop: list[Callable[[], None]] = []


def supervise(name: str) -> None:
    """Return in a child process, which does the work. This process waits for it and exits with its code.

    The first signal of ENDING ends the child and every process that it started, with one sentence. A second one ends
    them at once. A signal to the child counts as one to this process. SIGHUP stays ignored under `nohup`.
    """
    heard, written = os.pipe()
    orders, order = os.pipe()
    os.set_blocking(written, False)
    signal.set_wakeup_fd(written, warn_on_full_buffer=False)
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGTSTP, signal.SIGCHLD):
        signal.signal(number, _note)
    if signal.getsignal(signal.SIGHUP) is not signal.SIG_IGN:
        signal.signal(signal.SIGHUP, _note)
    # Processes whose parent ends become children of this process, so that none escapes.
    ctypes.CDLL(None).prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
    worker = os.fork()
    if worker:
        os.close(orders)
        os._exit(_Supervisor(name, worker, heard, order).exit_code())
    os.setsid()  # signals of the terminal reach the supervisor only
    os.close(heard)
    os.close(order)
    for number in (signal.SIGTSTP, signal.SIGCHLD):
        signal.signal(number, signal.SIG_DFL)
    _keep_forks_ordinary()
    threading.Thread(target=_obey, args=(orders,), daemon=True).start()


@contextmanager
def on_stop(act: Callable[[], None]) -> Iterator[None]:
    """Call ``act`` in another thread if a signal stops this command meanwhile. It has two seconds."""
    _on_stop.append(act)
    try:
        yield
    finally:
        _on_stop.remove(act)


def _note(_number: int, _frame: object) -> None:
    """Do nothing: Python's own handler has written the number to the wake-up pipe."""


def _keep_forks_ordinary() -> None:
    """Give processes that the command forks the usual signal handlers. A signal during the fork waits for them."""

    def block() -> None:
        signal.pthread_sigmask(signal.SIG_BLOCK, ENDING)

    def unblock() -> None:
        signal.pthread_sigmask(signal.SIG_UNBLOCK, ENDING)

    def reset() -> None:
        signal.set_wakeup_fd(-1)
        for number in ENDING:
            if signal.getsignal(number) is _note:
                signal.signal(number, signal.SIG_DFL)
        unblock()

    os.register_at_fork(before=block, after_in_parent=unblock, after_in_child=reset)


def _obey(orders: int) -> None:
    """End this process on the supervisor's order, or when the supervisor is gone."""
    os.read(orders, 1)
    for act in reversed(_on_stop):
        with suppress(Exception):
            act()
    os._exit(1)


class _Supervisor:
    """The parent of a command's process."""

    def __init__(self, name: str, worker: int, heard: int, order: int) -> None:
        self._name, self._worker, self._heard, self._order = name, worker, heard, order
        self._status: int | None = None
        self._signalled = 0.0

    def exit_code(self) -> int:
        """Wait for the command, or for a signal. Return this process' exit code."""
        import psutil  # noqa: F401  # now, while there is time: a signal needs it

        while True:
            number = os.read(self._heard, 1)[0]
            if number in ENDING:
                return self._stop(signal.Signals(number))
            if number == signal.SIGTSTP:
                self._pause()
            self._reap()
            if self._status is not None:
                return self._ended(os.waitstatus_to_exitcode(self._status))

    def _stop(self, received: signal.Signals) -> int:
        self._signalled = time.monotonic()
        with suppress(OSError):
            os.write(self._order, b"\0")
        self._wait(self._has_ended, _WORKER_SECONDS)
        self._end_children()
        self._say(f"Stopped by {received.name}. {GO_ON}")
        return 128 + received

    def _ended(self, code: int) -> int:
        if code >= 0:
            return code
        self._signalled = time.monotonic()
        self._end_children()
        killed = signal.Signals(-code).name
        reason = "; the machine may be out of memory" if -code == signal.SIGKILL else ""
        self._say(f"The process was ended by {killed}{reason}. {GO_ON}")
        return 128 - code

    def _end_children(self) -> None:
        """End the command and every process that it started, servers too. Those of other commands stay."""
        import psutil

        this = psutil.Process()
        if self._status is None:
            with suppress(ProcessLookupError):
                os.kill(self._worker, signal.SIGKILL)
            self._wait(self._has_ended, _KILLED_SECONDS)
        for child in this.children():  # each ends its own children
            with suppress(psutil.Error):
                # Dagster's watcher of orphans writes a stack trace on SIGINT. Postgres ends at once only on SIGINT.
                is_watcher = any("watch_orphans" in argument for argument in child.cmdline())
                child.send_signal(signal.SIGTERM if is_watcher else signal.SIGINT)
        since = time.monotonic() - self._signalled
        if self._wait(self._is_alone, min(_CHILDREN_SECONDS, since + _MOST_CHILDREN_SECONDS)):
            return
        for child in this.children(recursive=True):
            with suppress(psutil.Error):
                child.kill()
        self._wait(self._is_alone, _END_SECONDS)

    def _wait(self, is_done: Callable[[], bool], seconds: float) -> bool:
        """Return whether it is done so many seconds after the signal. Another signal ends the wait."""
        deadline = self._signalled + seconds
        while True:
            if is_done():
                return True
            if time.monotonic() > deadline:
                return False
            if select.select([self._heard], [], [], _POLL_SECONDS)[0] and os.read(self._heard, 1)[0] in ENDING:
                return False

    def _has_ended(self) -> bool:
        self._reap()
        return self._status is not None

    def _is_alone(self) -> bool:
        return not self._reap()

    def _reap(self) -> bool:
        """Take the status of ended children. Return whether others are left."""
        with suppress(ChildProcessError):
            while (found := os.waitpid(-1, os.WNOHANG))[0]:
                if found[0] == self._worker:
                    self._status = found[1]
            return True
        return False

    def _pause(self) -> None:
        """Stop as Ctrl-Z asks, with the command, and go on with it."""
        os.kill(self._worker, signal.SIGSTOP)
        os.kill(os.getpid(), signal.SIGSTOP)
        os.kill(self._worker, signal.SIGCONT)

    def _say(self, sentence: str) -> None:
        with suppress(OSError, ValueError):  # a terminal that hung up
            start = _SHOW_CURSOR if sys.stderr.isatty() else ""
            sys.stderr.write(f"{start}{self._name}: {sentence}\n")
            sys.stderr.flush()
