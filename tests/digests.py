"""Digests of what thirteen trainings make: the numbers that a change of the code's structure must not touch.

`python tests/digests.py` prints them; `scripts/digests` also keeps them in tests/data/digests.json, one entry for each
thing that decides bits: how the kernels came to be, the processor, and the versions of the compiler.
"""

from __future__ import annotations

import hashlib
import json
import sys
from importlib.metadata import version
from pathlib import Path

import numpy as np
import scipy.sparse

import fastmlp
from fastmlp import optimizers, schedules
from fastmlp.kernels import prebuilt
from fastmlp.kernels.cpu import cpu_name, vector_bytes

FILE = Path(__file__).parent / "data" / "digests.json"


def _classes(n_in, n_samples, n_classes, **options):
    rng = np.random.default_rng(n_in)
    x = rng.normal(size=(n_samples, n_in)) * (rng.random((n_samples, n_in)) > options.pop("zeros", 0.0))
    y = np.argmax(x @ rng.normal(size=(n_in, n_classes)), axis=1)
    hidden = options.pop("hidden", [("tanh", 24)])
    output = options.pop("output", {"n": n_classes, "act": "softmax"})
    layers = [{"n": n, "act": act} for act, n in hidden]
    return x, y, [{"n": n_in, "act": None}, *layers, output], {"seed": 3, "epochs": 3, "shuffle": True, **options}


def _sparse():
    x, y, spec, options = _classes(90, 400, 5, zeros=0.9, lr=0.05)
    return scipy.sparse.csr_array(x), y, spec, options


def _pixels():
    x, y, spec, options = _classes(60, 500, 10, hidden=[("relu", 32), ("relu", 32)], lr=0.05, batch_size=16)
    pixels = (np.maximum(x, 0) * 80).clip(0, 255).astype(np.uint8)
    return pixels, y, [{"n": 60, "act": None, "shift": 12.0, "scale": 1 / 255}, *spec[1:]], options


def _numbers():
    rng = np.random.default_rng(1)
    x = rng.normal(size=(300, 7)).astype(np.float32)
    y = np.sin(x[:, :3])
    spec = [{"n": 7, "act": None}, {"n": 33, "act": "swish"}, {"n": 9, "act": "softmax"}, {"n": 3, "act": "linear"}]
    return x, y, spec, {"seed": 4, "epochs": 2, "loss": "huber", "batch_size": 40, "sample_weight": rng.random(300)}


TRAININGS = {
    "sgd float32": lambda: _classes(50, 400, 6, lr=0.05),
    "sgd float64, zeros": lambda: _classes(40, 400, 4, zeros=0.8, dtype="float64", lr=0.05),
    "sgd, tiny": lambda: _classes(3, 200, 2, hidden=[("elu", 5), ("leaky_relu", 4)], lr=0.1, epochs=40),
    "nesterov, l2, clipping": lambda: _classes(
        30, 300, 4, optimizer=optimizers.SGD(0.9, nesterov=True), l2=1e-3, clip_norm=1.0, lr=0.01
    ),
    "momentum by a schedule": lambda: _classes(
        30, 300, 4, optimizer=optimizers.SGD(0.8), lr=schedules.Exponential(0.02, 0.9), dtype="float64"
    ),
    "batches, two threads": lambda: _classes(30, 3000, 4, batch_size=900, lr=0.1, n_threads=2),
    "adam, clipping, two threads": lambda: _classes(
        30, 1500, 4, batch_size=400, optimizer="adam", clip_norm=0.5, n_threads=2
    ),
    "rmsprop, l1, max_norm": lambda: _classes(
        20, 300, 3, batch_size=8, optimizer="rmsprop", l1=1e-4, max_norm=1.0, dtype="float64"
    ),
    "dropout": lambda: _classes(
        20, 300, 3, hidden=[("relu", 40), ("softplus", 20)], dropout=[0.4, 0.2], batch_size=4, lr=0.05
    ),
    "gelu, sine, nadam": lambda: _classes(
        20, 300, 3, hidden=[("gelu", 24), ("sine", 12)], optimizer="nadam", batch_size=8
    ),
    "sparse": _sparse,
    "pixels": _pixels,
    "regression, weights, hidden softmax": _numbers,
}


def digest(name: str) -> str:
    """SHA-256 of the trained parameters, the history, and what the network says of the samples."""
    x, y, spec, options = TRAININGS[name]()
    model, history = fastmlp.train(x, y, spec, **options)
    rows = x[:70]
    dense = rows.toarray() if scipy.sparse.issparse(rows) else rows
    results = [
        model.params, history["loss"], model.predict(x), model.predict(dense[:1]), model.gradient(rows, y[:70])[1],
        model.jacobian(dense[:3]), model.jacobian(dense[:3], wrt="inputs"), *model.forward(rows)[0],
    ]  # fmt: skip
    total = hashlib.sha256()
    for values in results:
        total.update(np.ascontiguousarray(values).tobytes())
    return total.hexdigest()[:32]


def made_by() -> str:
    """What decides the bits, as one line."""
    try:
        library = prebuilt.in_use()
    except prebuilt.Unusable:
        compiler = f"numba {version('numba')}, llvmlite {version('llvmlite')}"
        return f"compiled: {cpu_name()}, {8 * vector_bytes()} bits, {compiler}"
    made = json.loads(library.path.with_name(prebuilt.MANIFEST).read_text())["made_with"]
    return f"prebuilt: {library.level}, numba {made['numba']}, llvmlite {made['llvmlite']}"


def main(arguments: list[str]) -> None:
    found = {name: digest(name) for name in TRAININGS}
    if "--renew" in arguments:
        kept = json.loads(FILE.read_text()) if FILE.exists() else {}
        FILE.write_text(json.dumps({**kept, made_by(): found}, indent=1) + "\n")
    print(json.dumps({made_by(): found}, indent=1))


if __name__ == "__main__":
    main(sys.argv[1:])
