"""Checkpoints: killed at any instant and run again, training ends bit for bit where the unbroken run ends."""

from __future__ import annotations

import json
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import tracemalloc
from pathlib import Path

import numpy as np
import pytest
from safetensors import safe_open

import fastmlp
from fastmlp import Checkpoint, EarlyStopping, optimizers, schedules
from fastmlp.base.sparse import SparseRows
from fastmlp.model.checkpoints import fingerprint
from fastmlp.model.options import Options
from fastmlp.optimizers import OPTIMIZERS

SPEC = [{"n": 5, "scale": 0.9}, {"n": 7, "act": "tanh"}, {"n": 3, "act": "softmax"}]
RESUMABLE = sorted(name for name, kind in OPTIMIZERS.items() if not kind.by_search)


def data(n=90):
    rng = np.random.default_rng(5)
    x = rng.normal(size=(n, 5))
    return x, np.argmax(x[:, :3] + rng.normal(size=(n, 3)), axis=1)


def run(path=None, epochs=8, spec=SPEC, **options):
    x, y = data()
    options = {"lr": 0.01, "seed": 1, "batch_size": 16, **options}
    return fastmlp.train(options.pop("x", x), options.pop("y", y), spec, epochs=epochs, checkpoint=path, **options)


def document(path):
    with safe_open(path, framework="numpy") as file:
        return json.loads(file.metadata()["fastmlp"])


class Accident(Exception):
    pass


def accident_after(epoch, error=Accident):
    def callback(state):
        if state.epoch == epoch:
            raise error

    return callback


def broken(path, *epochs, **options):
    for epoch in epochs:
        with pytest.raises(Accident):
            run(path, callbacks=accident_after(epoch), **options)
    return run(path, **options)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("batch_size", [1, 16])
@pytest.mark.parametrize("optimizer", RESUMABLE)
def test_every_optimiser_goes_on_with_the_same_bits(tmp_path, optimizer, batch_size, dtype):
    options = {"optimizer": optimizer, "batch_size": batch_size, "dtype": dtype}
    assert broken(tmp_path / "run", 0, 3, 3, 5, **options) == run(**options)


@pytest.mark.parametrize(
    "options",
    [
        {"optimizer": optimizers.SGD(momentum=0.9, nesterov=True), "batch_size": 1, "l2": 1e-3},
        {"optimizer": optimizers.SGD(momentum=0.9), "batch_size": 1, "max_norm": 1.0, "l1": 1e-4},
        {"dropout": 0.3, "clip_norm": 0.5, "optimizer": optimizers.AdamW(weight_decay=0.1)},
        {"validation_fraction": 0.2, "early_stopping": EarlyStopping(patience=2, min_delta=0.02), "lr": 0.2},
        {"validation_fraction": 0.2, "early_stopping": EarlyStopping(patience=2, restore_best=False), "lr": 0.2},
        {"lr": schedules.ReduceOnPlateau(0.2, patience=0, factor=0.5, min_delta=0.05)},
        {"lr": lambda epoch: 0.1 / (1 + epoch), "batch_size": 1},
        {"metrics": ["top_2", "cross_entropy", lambda y, y_hat: np.nan], "shuffle": False},
        {"class_weight": "balanced", "sample_weight": np.linspace(0, 1, 90), "batch_size": "full"},
        {"validation_data": data(30), "metrics": "r2", "n_threads": 2, "batch_size": 90},
    ],
    ids=lambda options: " ".join(options),
)
def test_every_option_goes_on_with_the_same_bits(tmp_path, options):
    model, history = run(**options)
    again, its_history = broken(tmp_path / "run", 1, 2, **options)
    assert again == model
    np.testing.assert_equal(dict(its_history), dict(history))
    assert list(its_history) == list(history)


def test_what_ended_is_returned_at_once(tmp_path):
    path = tmp_path / "run"
    model, history = run(path)
    content = path.read_bytes()
    assert run(path, callbacks=accident_after(7)) == (model, history)
    assert path.read_bytes() == content


def test_more_epochs_go_on_and_fewer_are_refused(tmp_path):
    path = tmp_path / "run"
    run(path, epochs=3)
    assert run(path, epochs=8) == run(epochs=8)
    with pytest.raises(ValueError, match="run: has had 8 epochs already, epochs is 3"):
        run(path, epochs=3)


def test_what_was_stopped_stays_so(tmp_path):
    early = {"early_stopping": EarlyStopping(patience=1, min_delta=10.0), "lr": 0.1}
    stopped = run(tmp_path / "early", **early)
    assert stopped == run(**early) and len(stopped[1]["loss"]) == 2
    assert run(tmp_path / "early", epochs=50, **early) == stopped
    called = run(tmp_path / "called", callbacks=lambda state: state.epoch == 4 and state.stop())
    assert len(called[1]["loss"]) == 5
    assert run(tmp_path / "called", epochs=50) == called


@pytest.mark.parametrize("every", [1, 3])
def test_it_is_written_before_the_first_epoch_after_every_so_many_and_at_the_end(tmp_path, every):
    path = tmp_path / "run"
    with pytest.raises(Accident):
        run(Checkpoint(path, every=every), callbacks=accident_after(0))
    assert document(path)["epochs"] == 0
    for failing in (4, 6):
        with pytest.raises(Accident):
            run(Checkpoint(path, every=every), callbacks=accident_after(failing))
        assert document(path)["epochs"] == failing // every * every
    assert run(Checkpoint(path, every=every)) == run()
    assert document(path)["epochs"] == 8


def test_without_a_seed_the_run_goes_on_with_its_own_chance(tmp_path):
    options = {"seed": None, "validation_fraction": 0.3, "dropout": 0.1}
    run(tmp_path / "one", epochs=3, **options)
    shutil.copy(tmp_path / "one", tmp_path / "two")
    assert run(tmp_path / "one", **options) == run(tmp_path / "two", **options)
    other = run(tmp_path / "three", **options)
    assert other[0] != run(tmp_path / "one", **options)[0]


def test_ctrl_c_loses_the_running_epoch_only(tmp_path):
    path = tmp_path / "run"
    with pytest.warns(RuntimeWarning, match="interrupted in epoch 5"):
        _, history = run(path, callbacks=accident_after(3, KeyboardInterrupt))
    assert history.interrupted and len(history["loss"]) == 4
    again, history = run(path)
    assert (again, history) == run() and not history.interrupted


def test_divergence_comes_again(tmp_path):
    path = tmp_path / "run"
    for _ in range(2):
        with pytest.raises(fastmlp.DivergenceError) as divergence:
            run(path, lr=lambda epoch: 0.01 if epoch < 3 else 1e38)
        assert divergence.value.epoch == 4
        assert divergence.value.history == run(epochs=3)[1]
        assert divergence.value.model == run(epochs=3)[0]


def test_a_given_model_goes_on_in_place(tmp_path):
    path = tmp_path / "run"
    first, _ = run(epochs=2)
    unbroken, history = run(spec=first.copy())
    given = first.copy()
    with pytest.raises(Accident):
        run(path, spec=given, callbacks=accident_after(4))
    with pytest.raises(ValueError, match="the given model's parameters is float32"):
        run(path, spec=given)  # no longer what the run began with
    given = first.copy()
    again, its_history = run(path, spec=given)
    assert again is given and again == unbroken and its_history == history


def test_a_full_disk_ends_the_run_which_goes_on_later(tmp_path, monkeypatch):
    path, sync, calls, unbroken = tmp_path / "run", os.fsync, [], run()

    def full_disk(number):
        calls.append(number)
        if len(calls) > 8:
            raise OSError(28, "No space left on device")
        sync(number)

    monkeypatch.setattr(os, "fsync", full_disk)
    with pytest.raises(OSError, match="No space"):
        run(path)
    monkeypatch.undo()
    assert 0 < document(path)["epochs"] < 8 and list(tmp_path.iterdir()) == [path]
    assert run(path) == unbroken


def test_the_folder_that_is_current_may_change(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "other").mkdir()
    run("run", callbacks=lambda state: os.chdir("/"))
    assert document(tmp_path / "run")["epochs"] == 8


def test_progress_goes_on(tmp_path, capsys):
    run(tmp_path / "run", epochs=3)
    run(tmp_path / "run", progress=True)
    lines = capsys.readouterr().err.splitlines()
    assert [line.split()[1] for line in lines] == ["4/8", "5/8", "6/8", "7/8", "8/8"]


def test_what_callbacks_put_into_the_history_is_kept(tmp_path):
    def note(state):
        state.history.setdefault("norm", []).append(float(np.linalg.norm(state.model.params)))

    path = tmp_path / "run"
    run(path, epochs=3, callbacks=note)
    assert run(path, callbacks=note) == run(callbacks=note)


def test_functions_of_ones_own_are_taken_as_they_are(tmp_path):
    numba = pytest.importorskip("numba")
    act = fastmlp.Activation("mine", numba.njit(lambda z: z * z), numba.njit(lambda z: 2.0 * z))
    spec = [{"n": 5}, {"n": 4, "act": act}, {"n": 3, "act": "softmax"}]
    assert broken(tmp_path / "run", 3, spec=spec) == run(spec=spec)


# What does not belong together is refused.

OTHER = {
    "lr": 0.02, "batch_size": 8, "optimizer": "adam", "metrics": "r2", "shuffle": False, "seed": 2,
    "init": "he_normal", "dtype": "float64", "validation_fraction": 0.1, "early_stopping": 3, "l1": 0.1, "l2": 0.1,
    "dropout": 0.1, "clip_norm": 1.0, "max_norm": 1.0, "class_names": ["a", "b", "c"],
}  # fmt: skip


@pytest.mark.parametrize("option", OTHER)
def test_another_option_is_named(tmp_path, option):
    run(tmp_path / "run", epochs=1)
    before = (tmp_path / "run").read_bytes()
    with pytest.raises(ValueError, match=rf"run: is another run's checkpoint .*: {option} is .*, there it is"):
        run(tmp_path / "run", **{option: OTHER[option]})
    assert (tmp_path / "run").read_bytes() == before


def test_all_options_but_those_that_change_no_bits_are_compared():
    elsewhere = {"loss", "sample_weight", "class_weight", "output_weight", "validation_data", "epochs", "standardize"}
    elsewhere |= {"dydx", "dydx_weight"}  # in test_slopes.py
    elsewhere |= {"residual", "residual_weight"}  # in test_residuals.py
    compared = OTHER.keys() | elsewhere
    free = {"callbacks", "progress", "checkpoint", "n_threads"}
    assert compared | free == fastmlp.train.__kwdefaults__.keys()
    options = Options.checked(SPEC, **fastmlp.train.__kwdefaults__)
    assert [*options.for_checkpoint(90), "class_names"] == list(OTHER)  # names are compared with the data


def test_a_run_that_goes_on_with_other_kernels_says_so(tmp_path, monkeypatch):
    with monkeypatch.context() as patch:
        patch.setattr("fastmlp.model.checkpoints.kernels_level", lambda: "prebuilt \x1b[31mx86-64-v9")
        run(tmp_path / "run", epochs=3)
    words = r"other kernels \(prebuilt \\x1b\[31mx86-64-v9, fastmlp .*; here .*\): training goes on"
    with pytest.warns(UserWarning, match=words) as warned:
        assert run(tmp_path / "run") == run()
    assert warned[0].filename == __file__
    assert run(tmp_path / "run", epochs=9) == run(epochs=9), "it is said once"


def test_a_checkpoint_of_version_1_still_goes_on(tmp_path, monkeypatch):
    """The file was written on another machine, whose last bits may differ.

    Its run held rows out whatever their class.
    """
    options = {"optimizer": "adam", "dtype": "float64", "validation_fraction": 0.2, "early_stopping": 8, "dropout": 0.1}
    shutil.copy(Path(__file__).parent / "data" / "checkpoint-1.safetensors", tmp_path / "run")
    assert document(tmp_path / "run")["epochs"] == 4
    model, history = run(tmp_path / "run", **options)
    assert document(tmp_path / "run")["stratified"] is False
    assert history["val_loss"][-1] != run(**options)[1]["val_loss"][-1]
    monkeypatch.setattr("fastmlp.model.options.class_indices", lambda y, spec: None)
    unbroken, its_history = run(**options)
    np.testing.assert_allclose(model.params, unbroken.params, rtol=1e-9, atol=1e-12)
    assert list(history) == list(its_history) and history.epochs == its_history.epochs == 8
    np.testing.assert_allclose(history["val_loss"], its_history["val_loss"], rtol=1e-9)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"x": data()[0] + 1e-9}, "x is float64 .90, 5. .*, there it is float64"),
        ({"x": data()[0].astype(np.float32)}, "x is float32 .* there it is float64"),
        ({"x": data(91)[0], "y": data(91)[1]}, r"x is .*\(91, 5\).*; y is"),
        ({"y": np.roll(data()[1], 1)}, ": y is int64"),
        ({"sample_weight": np.full(90, 2.0)}, "sample_weight times class_weight is float64 .* there it is left out"),
        ({"class_weight": {0: 2.0}}, "sample_weight times class_weight is"),
        ({"validation_data": data(20)}, "validation x is .* left out; validation y is"),
        ({"spec": [*SPEC[:2], {"n": 3, "act": "softmax", "cost": "mse"}]}, r"spec\[2\]\['cost'\] is mse, .*cross_ent"),
        ({"spec": [SPEC[0], {"n": 8, "act": "relu"}, SPEC[2]]}, r"spec\[1\]\['n'\] is 8, there it is 7; .*'act'"),
        ({"spec": [{"n": 5}, *SPEC[1:]]}, r"spec\[0\]\['scale'\] is left out, there it is 0.9"),
        ({"spec": [*SPEC[:2], SPEC[1], SPEC[2]]}, "the spec has 4 layers, there it has 3"),
        ({"loss": "mse"}, "cost"),
        ({"spec": fastmlp.MLP(SPEC, seed=1)}, "the given model's parameters is float32"),
    ],
    ids=str,
)  # fmt: skip
def test_other_data_and_specs_are_named(tmp_path, changes, message):
    run(tmp_path / "run", epochs=1)
    with pytest.raises(ValueError, match=message):
        run(tmp_path / "run", **changes)


def test_lists_views_and_threads_are_no_difference(tmp_path):
    x, y = data()
    run(tmp_path / "run", epochs=3)
    wide = np.zeros((180, 9))
    wide[::2, 2:7] = x
    run(tmp_path / "run", epochs=4, x=wide[::2, 2:7], y=y.tolist(), n_threads=2)
    run(tmp_path / "run", epochs=5, x=np.asfortranarray(x), spec=fastmlp.Spec(SPEC))
    assert run(tmp_path / "run", epochs=6, x=x.tolist()) == run(epochs=6)


def test_lazy_steps_go_on_and_are_not_taken_for_others(tmp_path):
    sparse = pytest.importorskip("scipy.sparse")
    x = sparse.random_array((80, 400), density=0.02, format="csr", rng=0)
    spec = [{"n": 400, "act": None}, {"n": 8, "act": "tanh"}, {"n": 2, "act": "softmax"}]
    options = {"y": np.arange(80) % 2, "spec": spec, "batch_size": 9, "seed": 0}
    path = str(tmp_path / "run.ckpt")
    fastmlp.train(x, epochs=2, optimizer=fastmlp.optimizers.Adam(lazy=True), checkpoint=path, **options)
    with pytest.raises(ValueError, match=r"optimizer.*lazy=True"):
        fastmlp.train(x, epochs=4, optimizer=fastmlp.optimizers.Adam(), checkpoint=path, **options)
    resumed = fastmlp.train(x, epochs=4, optimizer=fastmlp.optimizers.Adam(lazy=True), checkpoint=path, **options)
    assert resumed == fastmlp.train(x, epochs=4, optimizer=fastmlp.optimizers.Adam(lazy=True), **options)


def test_sparse_x(tmp_path):
    sparse = pytest.importorskip("scipy.sparse")
    x = sparse.csr_array(np.where(data()[0] > 0.3, data()[0], 0))
    assert broken(tmp_path / "run", 3, x=x) == run(x=x)
    for other in (2 * x, sparse.csr_array(x.toarray()[:, ::-1])):
        with pytest.raises(ValueError, match="x is sparse float64"):
            run(tmp_path / "run", x=other)


def test_fingerprints():
    rng = np.random.default_rng(0)
    x = rng.integers(0, 99, (2500, 1000)).astype(np.float32)
    print_of_x = fingerprint(x)
    assert print_of_x == fingerprint(np.asfortranarray(x)) == fingerprint(np.flip(np.flip(x)))
    for row, column in [(0, 0), (1048, 575), (1048, 576), (2499, 999)]:
        x[row, column] += 1
        assert fingerprint(x) != print_of_x
        x[row, column] -= 1
    assert fingerprint(x.reshape(1000, 2500)) != print_of_x
    assert fingerprint(x[:, :0]) != fingerprint(x[:, :1]) and fingerprint(None) is None
    empty = np.zeros(0)
    assert fingerprint(SparseRows(empty, empty, np.zeros(3, np.int64), (2, 4))).startswith("sparse float64 (2, 4)")


def test_a_memory_map_is_not_copied(tmp_path):
    x = np.lib.format.open_memmap(tmp_path / "x.npy", "w+", np.float32, (40_000, 250))
    x[:] = 1
    tracemalloc.start()
    try:
        fingerprint(x)
        assert tracemalloc.get_traced_memory()[1] < 1 << 20
        fingerprint(x[:, 1:])
        assert tracemalloc.get_traced_memory()[1] < 1 << 23 < x.nbytes
    finally:
        tracemalloc.stop()


def test_lbfgs_is_refused_in_words(tmp_path):
    with pytest.raises(ValueError, match="lbfgs cannot go on from a checkpoint"):
        fastmlp.train(*data(), SPEC, optimizer="lbfgs", checkpoint=tmp_path / "run")


def test_arguments_and_places_are_checked_before_training(tmp_path):
    for wrong in (3, b"run", True):
        with pytest.raises(TypeError, match="checkpoint must be a file's name"):
            run(wrong)
    with pytest.raises(ValueError, match="every must be at least 1"):
        Checkpoint("run", every=0)
    with pytest.raises(FileNotFoundError, match="there is no folder"):
        run(tmp_path / "missing" / "run", callbacks=accident_after(0))
    with pytest.raises(ValueError, match="is a folder"):
        run(tmp_path)


def test_a_checkpoint_is_no_model_and_a_model_no_checkpoint(tmp_path):
    model, _ = run(tmp_path / "run", epochs=1)
    model.save(tmp_path / "model")
    with pytest.raises(ValueError, match="run: is a checkpoint, not a model"):
        fastmlp.load(tmp_path / "run")
    with pytest.raises(ValueError, match="model: is a model, not a checkpoint"):
        run(tmp_path / "model")
    assert fastmlp.load(tmp_path / "model") == model


def test_a_damaged_checkpoint_is_refused_and_left_alone(tmp_path):
    path, chance = tmp_path / "run", random.Random(0)
    options = {"epochs": 4, "optimizer": "adam", "early_stopping": 3}
    expected = run(path, **options)
    content = path.read_bytes()
    for damage in [b"", content[:100], content[:-1], content + b"\0", b"\0" * len(content), b"not a checkpoint"]:
        path.write_bytes(damage)
        with pytest.raises(ValueError, match=f"^{path}: "):
            run(path, **options)
        assert path.read_bytes() == damage
    model = fastmlp.MLP(SPEC, seed=1)
    for _ in range(600):
        damaged = bytearray(content)
        damaged[chance.randrange(len(content))] ^= 1 << chance.randrange(8)
        path.unlink()
        path.write_bytes(damaged)
        try:
            result = run(path, **options)
        except ValueError as error:
            trouble = str(error)
        else:
            assert result == expected  # a space of the header, say
            continue
        assert trouble.startswith(f"{path}: ")
    assert model == fastmlp.MLP(SPEC, seed=1)


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("epochs", -1), ("epochs", "4"), ("epochs", 10**30), ("steps", None), ("stopped", 1), ("random_state", {}),
        ("random_state", {"first": 1, "now": 2}), ("history", {"loss": -4}), ("history", {"loss": 10**12}),
        ("history", {"loss": "4"}), ("history", {}), ("spec", {}), ("spec", [1, 2, 3]), ("options", []), ("data", None),
    ],
    ids=str,
)  # fmt: skip
def test_checkpoints_that_make_no_sense_are_refused(tmp_path, resealed, key, value):
    path = tmp_path / "run"
    run(path, epochs=2)
    resealed(path, lambda document, tensors: {**document, key: value})
    with pytest.raises(ValueError, match=f"^{path}: "):
        run(path)


# Real processes, real kills. Each child is a fork of a process that has done nothing yet but load the library.


@pytest.fixture
def quick_folder(tmp_path):
    """A folder in memory, where there is one: thousands of files are synced."""
    if not os.path.isdir("/dev/shm"):
        yield tmp_path
        return
    with tempfile.TemporaryDirectory(dir="/dev/shm") as folder:
        yield Path(folder)


RUNS = {
    "per sample": {"batch_size": 1, "lr": 0.01},
    "adam with dropout": {"batch_size": 8, "optimizer": "adam", "dropout": 0.2, "lr": 0.01},
    "momentum": {"batch_size": 1, "optimizer": "momentum", "lr": 0.001},
    "early stopping": {"batch_size": 4, "validation_fraction": 0.2, "early_stopping": 800, "lr": 0.3},
    "plateau": {"batch_size": 4, "lr": "plateau"},
    "held out": {"batch_size": 1, "validation_fraction": 0.3, "metrics": "r2", "dtype": "float64", "lr": 0.01},
    "two threads": {"batch_size": 90, "n_threads": 2, "optimizer": "rmsprop", "lr": 0.01, "every": 7},
}


def killed(folder, plan, options):
    if not hasattr(os, "fork"):
        pytest.skip("no fork here")
    script = Path(__file__).with_name("killer.py")
    command = [sys.executable, script, folder, json.dumps(plan), json.dumps(options)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=300)
    assert done.returncode == 0, done.stderr
    result = json.loads(done.stdout)
    assert result["same"] and result["files"] == ["answer", "run"], result
    assert result["reached"] == sorted(result["reached"]), result
    return result


@pytest.mark.parametrize("name", RUNS)
def test_killed_at_random_instants(quick_folder, name):
    chance = random.Random(name)
    plan = [chance.uniform(0, 0.3) for _ in range(6)]
    assert killed(quick_folder, plan, {"epochs": 1200, **RUNS[name]})["killed"] >= 2


def test_killed_in_the_middle_of_a_write(tmp_path):
    instants = [("half written", 1), ("renamed", 1), ("half written", 2), ("unsynced", 3), ("unrenamed", 4)]
    plan = [*instants, ("renamed", 5), ("half written", 1), ("unrenamed", 1), ("renamed", 2)]
    result = killed(tmp_path, plan, {"epochs": 40, "batch_size": 16, "lr": 0.01})
    assert result["killed"] == len(plan) and result["leftovers"] == 6
    assert result["reached"] == [0, 1, 3, 6, 11, 11, 11, 13]


def test_killed_many_times_while_it_writes(quick_folder):
    """The smallest net: nearly all of its time goes into files."""
    chance = random.Random(0)
    plan = [chance.uniform(0, 0.05) for _ in range(50)]
    result = killed(quick_folder, plan, {"epochs": 4000, "batch_size": 90, "lr": 0.01, "hidden": 1})
    assert result["killed"] >= 5


def test_killed_and_begun_again_from_nothing(quick_folder):
    """New interpreters take the run up, as a user has it."""
    script = (
        f"import sys; sys.path.insert(0, {str(Path(__file__).parent)!r}); from test_checkpoints import *\n"
        "model, _ = run(sys.argv[1], epochs=3000, optimizer='adam')\n"
        "print(model.params.tobytes().hex())"
    )
    path = quick_folder / "run"
    for least in (50, 500):
        process = subprocess.Popen([sys.executable, "-c", script, path], stdout=subprocess.PIPE)
        while process.poll() is None and (not path.exists() or document(path)["epochs"] < least):
            pass
        process.send_signal(signal.SIGKILL)
        process.communicate()
    done = subprocess.run([sys.executable, "-c", script, path], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == run(epochs=3000, optimizer="adam")[0].params.tobytes().hex()
