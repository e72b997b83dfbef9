"""Signals at any moment of a supervised command, with small programs in place of commands."""

import random
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil
import pytest

from pipelines.cli import supervisor
from pipelines.local.server_process import wait_until

ROOT = Path(__file__).parents[3]
SUPERVISED = """
import ctypes, os, signal, subprocess, sys, threading, time
from pipelines.cli.supervisor import on_stop, supervise
supervise("test")
def ready(): print(os.getpid(), flush=True)
"""
MOMENTS = {
    "in an import": "ready(); exec('while True: pass')",
    "in a native call": "ready(); time.sleep(600)",
    "in a native call that holds the GIL": "ready(); ctypes.PyDLL(None).sleep(600)",
    "with the handlers replaced": """
for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP): signal.signal(number, lambda *_: None)
ready(); time.sleep(600)""",
    "with the signals blocked": """
signal.pthread_sigmask(signal.SIG_BLOCK, set(signal.valid_signals()))
ready(); time.sleep(600)""",
    "while every exception is swallowed": """
ready()
while True:
    try: time.sleep(600)
    except BaseException: pass""",
    "with many threads": """
for _ in range(8): threading.Thread(target=time.sleep, args=(600,)).start()
ready(); time.sleep(600)""",
    "while stopped": "ready(); os.kill(os.getpid(), signal.SIGSTOP)",
    "in a fork": "ready(); os.fork() and os.wait(); time.sleep(600)",
    "while waiting for a child": "ready(); subprocess.run(['sleep', '600'])",
}
SIGNALS = {signal.SIGINT: 130, signal.SIGTERM: 143, signal.SIGHUP: 129}
PATIENCE_SECONDS = 30.0
"""Of the tests, on a busy machine. The bench `signals` measures five seconds."""


@contextmanager
def supervised(program: str, *prefix: str) -> Iterator[tuple[subprocess.Popen[str], int]]:
    """Run a program under a supervisor. Yield the supervisor and the pid of the program's process."""
    command = [*prefix, sys.executable, "-c", SUPERVISED + program]
    with subprocess.Popen(
        command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True
    ) as process:
        try:
            assert process.stdout is not None
            yield process, int(process.stdout.readline())
        finally:
            process.kill()


def ended(process: subprocess.Popen[str]) -> tuple[int, str]:
    """Return the exit code and what the process wrote to stderr."""
    errors = process.communicate(timeout=PATIENCE_SECONDS)[1]
    return process.returncode, errors


def is_gone(pid: int) -> bool:
    return not psutil.pid_exists(pid) or psutil.Process(pid).status() == psutil.STATUS_ZOMBIE


def test_the_patience_is_less_than_five_seconds() -> None:
    assert supervisor._WORKER_SECONDS < supervisor._KILLED_SECONDS < supervisor._CHILDREN_SECONDS
    assert supervisor._CHILDREN_SECONDS < supervisor._END_SECONDS < 5


@pytest.mark.parametrize("seed", range(len(MOMENTS) + 4))
def test_a_signal_at_any_moment_ends_the_command_with_one_sentence(seed: int) -> None:
    moment = list(MOMENTS)[seed % len(MOMENTS)]
    rng = random.Random(seed)  # noqa: S311
    first, *more = rng.choices([*SIGNALS], k=rng.choice([1, 1, 2, 3]))
    with supervised(MOMENTS[moment]) as (process, worker):
        for received in (first, *more):
            process.send_signal(received)
        code, errors = ended(process)
    # Signals that arrive together are taken in the order of their numbers.
    assert code in {SIGNALS[received] for received in (first, *more)}, moment
    assert errors == f"test: Stopped by {signal.Signals(code - 128).name}. {supervisor.GO_ON}\n", moment
    assert is_gone(worker), moment


@pytest.mark.parametrize("received", SIGNALS)
def test_a_signal_to_the_child_counts_as_one_to_the_command(received: signal.Signals) -> None:
    with supervised(MOMENTS["with the handlers replaced"]) as (process, worker):
        psutil.Process(worker).send_signal(received)
        assert ended(process) == (SIGNALS[received], f"test: Stopped by {received.name}. {supervisor.GO_ON}\n")


CHILDREN = {
    "of its own session": """
none = subprocess.DEVNULL
child = subprocess.Popen(["sleep", "600"], start_new_session=True, stdout=none, stderr=none).pid""",
    "deaf to signals": """
deaf = "trap '' INT TERM HUP; while :; do sleep 600; done"
child = subprocess.Popen(["sh", "-c", deaf], start_new_session=True).pid""",
    "whose parent ended": """
start = "sleep 600 >/dev/null & echo $!"
child = int(subprocess.run(["sh", "-c", start], stdout=subprocess.PIPE, start_new_session=True).stdout)""",
    "of a child": """
start = "sleep 600 & echo $!; wait"
parent = subprocess.Popen(["sh", "-c", start], stdout=subprocess.PIPE, start_new_session=True)
child = int(parent.stdout.readline())""",
}
TELL = "\nprint(child, flush=True)\n"


@pytest.mark.parametrize("kind", CHILDREN)
def test_a_signal_ends_every_process_that_the_command_started(kind: str) -> None:
    with supervised(CHILDREN[kind] + TELL + "time.sleep(600)") as (process, child):
        process.terminate()
        assert ended(process)[0] == 143
        assert is_gone(child)


def test_without_a_signal_servers_stay_and_code_and_output_are_the_commands() -> None:
    with supervised(CHILDREN["of its own session"] + TELL + "sys.stderr.write('out'); sys.exit(3)") as (process, child):
        try:
            assert ended(process) == (3, "out")
            assert not is_gone(child)
        finally:
            psutil.Process(child).kill()


@pytest.mark.parametrize("killed", ["SIGKILL", "SIGSEGV", "SIGABRT", "SIGBUS"])
def test_a_command_that_crashes_is_one_sentence_and_leaves_no_process(killed: str) -> None:
    crash = f"os.kill(os.getpid(), signal.{killed})"
    with supervised(CHILDREN["deaf to signals"] + TELL + crash) as (process, child):
        code, errors = ended(process)
        assert code == 128 + signal.Signals[killed]
        assert f"test: The process was ended by {killed}" in errors
        assert errors.count("\n") == 1
        assert is_gone(child)


def test_a_killed_supervisor_takes_the_command_with_it() -> None:
    with supervised(MOMENTS["in a native call"]) as (process, worker):
        process.kill()
        process.communicate(timeout=PATIENCE_SECONDS)
        assert wait_until(lambda: is_gone(worker), PATIENCE_SECONDS)


ACTS = {
    "ends": "lambda: os.write(1, b'acted')",
    "fails": "lambda: os.write(1, b'acted') and 1 / 0",
    "hangs": "lambda: os.write(1, b'acted') and time.sleep(600)",
}


@pytest.mark.parametrize("how", ACTS)
def test_a_command_acts_before_it_ends(how: str) -> None:
    with supervised(f"with on_stop({ACTS[how]}): ready(); time.sleep(600)") as (process, worker):
        process.terminate()
        output, _ = process.communicate(timeout=PATIENCE_SECONDS)
        assert (process.returncode, output) == (143, "acted")
        assert is_gone(worker)


def test_what_a_command_left_is_not_acted_on() -> None:
    with supervised(f"with on_stop({ACTS['ends']}): pass\nready(); time.sleep(600)") as (process, _):
        process.terminate()
        assert process.communicate(timeout=PATIENCE_SECONDS)[0] == ""


def test_nohup_keeps_a_hang_up_ignored() -> None:
    with supervised(MOMENTS["in a native call"], "nohup") as (process, _):
        process.send_signal(signal.SIGHUP)
        process.terminate()
        assert ended(process)[0] == 143


def test_a_job_in_the_background_of_a_script_takes_an_interrupt() -> None:
    script = '"$@" & read -r pid < /proc/self/stat; kill -0 $!; sleep 1; kill -INT $!; wait $!; echo $?'
    command = ["sh", "-c", script, "sh", sys.executable, "-c", SUPERVISED + "time.sleep(600)"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout == "130\n"


def test_a_process_that_the_command_forked_takes_signals_as_usual() -> None:
    program = """
pid = os.fork()
if not pid: time.sleep(600)
os.kill(pid, signal.SIGTERM)
ready(); sys.exit(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) != -signal.SIGTERM)"""
    with supervised(program) as (process, _):
        assert ended(process) == (0, "")


def test_a_command_that_is_suspended_goes_on() -> None:
    with supervised("ready(); time.sleep(600)", "env") as (process, worker):
        both = [psutil.Process(pid) for pid in (process.pid, worker)]
        process.send_signal(signal.SIGTSTP)
        assert wait_until(lambda: {each.status() for each in both} == {psutil.STATUS_STOPPED}, PATIENCE_SECONDS)
        process.send_signal(signal.SIGCONT)
        assert wait_until(lambda: psutil.STATUS_STOPPED not in {each.status() for each in both}, PATIENCE_SECONDS)
        process.terminate()
        assert ended(process)[0] == 143
