"""Forks while kernels are compiled: `python tests/faults/forks.py --forks 200`.

Each round is a process with an empty cache folder. Threads of it train networks that no other has, and so compile; the
main thread forks at random moments, by os.fork and by multiprocessing in turn, while another one logs. Every child
trains one of these networks, and forks a child that trains another. In every third round the main thread itself
compiles, and the handler of a timer forks in the middle of that; there children may also be refused, in words. One that
is not done after minutes hangs.
"""

from __future__ import annotations

import argparse
import logging
import multiprocessing
import os
import random
import signal
import subprocess
import sys
import tempfile
import threading
import time
import warnings
from collections.abc import Callable

import fastmlp

ACTIVATIONS = ["tanh", "relu", "sigmoid", "elu", "gelu", "swish", "softplus", "selu"]
X, Y = [[0.0, 0.0], [0.0, 1.0], [1.0, 0.0], [1.0, 1.0]], [0.0, 1.0, 1.0, 0.0]
DONE, REFUSED, PATIENCE = 7, 8, 180


WORD = b"fastmlp: compiling kernels for this machine, once; it takes some seconds\n"


def train(number: int) -> None:
    """Train a network whose kernels differ from those of other numbers."""
    spec = [{"n": 2, "act": None}, {"n": 3, "act": ACTIVATIONS[number % 8]}, {"n": 1, "act": "linear"}]
    options = {"dtype": ("float32", "float64")[number // 8 % 2], "batch_size": (1, 2)[number // 16 % 2]}
    fastmlp.train(X, Y, spec, epochs=1, progress=False, **options)


def child(number: int, other: int) -> None:
    """What a child does: it trains, and so does a child of its own. Its exit code is DONE, or REFUSED in words."""
    signal.setitimer(signal.ITIMER_REAL, 0)
    signal.signal(signal.SIGALRM, signal.SIG_DFL)
    signal.alarm(PATIENCE)
    try:
        train(number)
    except RuntimeError as error:
        os._exit(REFUSED if "was forked while a kernel was being compiled" in str(error) else 1)
    grandchild = os.fork()
    if grandchild == 0:
        signal.alarm(PATIENCE)
        train(other)
        os._exit(DONE)
    os._exit(os.waitstatus_to_exitcode(os.waitpid(grandchild, 0)[1]))


class Round:
    """One process's forks and what became of them."""

    def __init__(self, seed: int, forks: int) -> None:
        self.chance, self.left, self.waits = random.Random(seed), forks, []
        kind = 8 * self.chance.randrange(4)  # of one dtype and batch size, so that a round compiles for seconds
        self.numbers = [kind + act for act in self.chance.sample(range(8), 3)]
        self.children: list[Callable[[], int]] = []

    def fork(self) -> None:
        numbers, begin = self.chance.choices(self.numbers, k=2), time.monotonic()
        self.left -= 1
        if self.left % 2:
            process = multiprocessing.get_context("fork").Process(target=child, args=numbers)
            process.start()
            self.children.append(lambda: process.join() or process.exitcode)
        else:
            pid = os.fork()
            if pid == 0:
                child(*numbers)
            self.children.append(lambda: os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))
        self.waits.append(time.monotonic() - begin)

    def beside_threads(self) -> None:
        """Fork while three threads train and one logs."""
        busy = True
        threads = [threading.Thread(target=train, args=(number,)) for number in self.numbers]

        def log() -> None:
            while busy:
                logging.getLogger(f"fastmlp.{time.monotonic()}").info("busy")
                time.sleep(1e-3)

        threads.append(threading.Thread(target=log))
        for thread in threads:
            thread.start()
        while self.left and any(thread.is_alive() for thread in threads[:-1]):
            time.sleep(self.chance.uniform(0, 1.5))
            self.fork()
        busy = False
        for thread in threads:
            thread.join()

    def in_handlers(self) -> None:
        """Fork in a signal's handler while the main thread itself trains."""

        def handler(signum: int, frame: object) -> None:
            self.fork()
            if self.left:
                signal.setitimer(signal.ITIMER_REAL, self.chance.uniform(0.05, 2))

        signal.signal(signal.SIGALRM, handler)
        signal.setitimer(signal.ITIMER_REAL, self.chance.uniform(0.05, 1))
        for number in self.numbers[:2]:
            train(number)
        signal.setitimer(signal.ITIMER_REAL, 0)


def one_round(seed: int, forks: int) -> None:
    warnings.simplefilter("ignore")  # of forks in processes with threads
    with open(os.devnull, "w") as nowhere:
        logging.basicConfig(stream=nowhere, level=logging.INFO)
        a_round, in_handlers = Round(seed, forks), seed % 3 == 2
        (a_round.in_handlers if in_handlers else a_round.beside_threads)()
        codes = [wait() for wait in a_round.children]
    right = {DONE, REFUSED} if in_handlers else {DONE}
    print(len(codes), sum(code in right for code in codes), max(a_round.waits, default=0.0), codes)


def run(forks: int, seed: int, a_round: int = 8) -> tuple[int, float, list[str]]:
    """How many forks were made, the longest time that one took, and what went wrong."""
    made, longest, troubles = 0, 0.0, []
    while made < forks:
        with tempfile.TemporaryDirectory() as cache:
            command = [sys.executable, __file__, "--round", str(seed), "--forks", str(min(a_round, forks - made))]
            environment = {**os.environ, "FASTMLP_CACHE_DIR": cache, "FASTMLP_PREBUILT": "0"}
            process = subprocess.Popen(
                command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, start_new_session=True
            )
            try:
                out, err = process.communicate(timeout=3 * PATIENCE)
            except subprocess.TimeoutExpired:
                os.killpg(process.pid, signal.SIGKILL)
                out, err = process.communicate()
        words = out.decode().split(maxsplit=3)
        err = err.replace(WORD, b"")
        if process.returncode or err or words[0] != words[1]:
            troubles.append(f"seed {seed}, exit code {process.returncode}: {out.decode()}{err.decode()[-3000:]}")
        made += int(words[0]) if words else a_round
        longest = max(longest, float(words[2])) if words else longest
        seed += 1
    return made, longest, troubles


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--forks", type=int, default=40)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--round", type=int, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.round is not None:
        return one_round(arguments.round, arguments.forks)
    begin = time.monotonic()
    made, longest, troubles = run(arguments.forks, arguments.seed)
    for trouble in troubles:
        print(trouble)
    seconds = time.monotonic() - begin
    print(f"{made:,} forks while kernels were compiled, {len(troubles)} rounds failed, "
          f"the longest wait {longest:.1f} s, {seconds:.0f} s")  # fmt: skip
    sys.exit(bool(troubles))


if __name__ == "__main__":
    main()
