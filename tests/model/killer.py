"""Train in processes that are killed: `python killer.py FOLDER PLAN OPTIONS`, for test_checkpoints.py.

First a process trains without a checkpoint, then one with it. PLAN is a JSON list of the deaths of others: the share of
the latter's time after which one gets SIGKILL, or [instant, n]: at that instant of its n-th write. The last process is
left alone. Each is a fork of this one, which has only loaded the library. Prints what came of it, as JSON.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import time
import traceback
from pathlib import Path

import numpy as np

import fastmlp
from fastmlp.model.container import reading


def train(checkpoint, options):
    rng = np.random.default_rng(5)
    x = rng.normal(size=(90, 5))
    y = np.argmax(x[:, :3] + rng.normal(size=(90, 3)), axis=1)
    spec = [{"n": 5}, {"n": options.pop("hidden", 7), "act": "tanh"}, {"n": 3, "act": "softmax"}]
    every = options.pop("every", 1)
    if options.get("optimizer") == "momentum":
        options["optimizer"] = fastmlp.optimizers.SGD(momentum=0.9)
    if options["lr"] == "plateau":
        options["lr"] = fastmlp.schedules.ReduceOnPlateau(0.3, factor=0.7, patience=1, min_delta=0.01)
    kept = checkpoint and fastmlp.Checkpoint(checkpoint, every=every)
    model, history = fastmlp.train(x, y, spec, seed=4, checkpoint=kept, **options)
    return {"params": model.params.tobytes().hex(), "history": history}


def die_at(instant, n):
    """Let this process kill itself in the middle of its n-th write, which syncs the file, renames it, syncs the
    folder."""
    function, last = (os.fsync, 2 * n - 1) if instant in ("half written", "unsynced") else (os.replace, n)
    calls = 0

    def dying(*arguments):
        nonlocal calls
        calls += 1
        if calls < last:
            return function(*arguments)
        if instant == "half written":
            os.ftruncate(arguments[0], os.fstat(arguments[0]).st_size // 2)
        if instant == "renamed":
            function(*arguments)
        os.kill(os.getpid(), signal.SIGKILL)

    setattr(os, function.__name__, dying)


def child(options, answer, checkpoint=None, instant=None):
    pid = os.fork()
    if pid == 0:
        try:
            if instant:
                die_at(*instant)
            answer.write_text(json.dumps(train(checkpoint, options)))
            os._exit(0)
        except BaseException:
            traceback.print_exc()
            os._exit(1)
    return pid


def finished(options, answer, checkpoint=None):
    assert os.waitpid(child(options, answer, checkpoint), 0)[1] == 0
    return json.loads(answer.read_text())


def main(folder, plan, options):
    checkpoint, answer = folder / "run", folder / "answer"
    killed, reached, leftovers = 0, [], 0
    unbroken = finished(options, answer)
    begin = time.perf_counter()
    assert finished(options, answer, checkpoint) == unbroken
    seconds = time.perf_counter() - begin
    checkpoint.unlink()
    for death in plan:
        instant = death if isinstance(death, list) else None
        pid = child(options, answer, checkpoint, instant)
        if instant is None:
            time.sleep(death * seconds)
            os.kill(pid, signal.SIGKILL)
        killed += os.WIFSIGNALED(os.waitpid(pid, 0)[1])
        leftovers += any(folder.glob("*.part"))
        if checkpoint.exists():
            with reading(checkpoint, "checkpoint") as (document, _):
                reached.append(document["epochs"])
    same = finished(options, answer, checkpoint) == unbroken
    files = sorted(path.name for path in folder.iterdir())
    print(json.dumps({"same": same, "killed": killed, "reached": reached, "leftovers": leftovers, "files": files}))


if __name__ == "__main__":
    main(Path(sys.argv[1]), json.loads(sys.argv[2]), json.loads(sys.argv[3]))
