"""A lock that forks wait for, in processes of its own."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")

BEGIN = """
import os, signal, threading, time
from fastmlp.base.forks import ForkLock
lock, entered = ForkLock("forked inside"), threading.Event()
def child():
    signal.alarm(20)
    try:
        with lock.held():
            os._exit(7)
    except RuntimeError as error:
        os._exit(8 if str(error) == "forked inside" else 9)
def fork():
    pid = os.fork()
    if pid == 0:
        child()
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
def hold():
    with lock.held():
        entered.set()
        time.sleep(0.5)
"""


def run(script: str) -> str:
    command = [sys.executable, "-W", "ignore", "-c", BEGIN + script]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True)
    assert done.stderr == ""
    return done.stdout


@pytest.mark.parametrize("first", ["", "lock.go_first(); lock.go_first()"])
def test_a_fork_waits_until_the_other_thread_is_out(first):
    script = f"""
{first}
threading.Thread(target=hold).start()
entered.wait()
begin = time.monotonic()
print(fork(), time.monotonic() - begin > 0.4, fork())
with lock.held(), lock.held():
    print("again")
"""
    assert run(script) == "7 True 7\nagain\n"


def test_who_forks_inside_has_a_child_that_is_refused():
    script = """
with lock.held():
    print(fork())
print(fork())
"""
    assert run(script) == "8\n7\n"


def test_a_fork_goes_between_a_thread_that_leaves_and_comes_back_at_once():
    script = """
ends = time.monotonic() + 10
def busy():
    while time.monotonic() < ends:
        with lock.held():
            entered.set()
            time.sleep(0.05)
threading.Thread(target=busy, daemon=True).start()
entered.wait()
print([fork() for _ in range(10)], time.monotonic() < ends)
"""
    assert run(script) == f"{[7] * 10} True\n"
