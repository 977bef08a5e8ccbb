"""Train and predict for the first time, in an environment that has NumPy and the wheel and nothing else.

CI and scripts/release-check run this, from a folder without a checkout. It prints the seconds beyond NumPy's import.
"""

from __future__ import annotations

import importlib.util
import sys
import time
from typing import Any

import numpy as np

WAYS: list[dict[str, Any]] = [
    {"dtype": dtype, **way}
    for dtype in ("float32", "float64")
    for way in ({"lr": 0.1}, {"lr": 0.5, "batch_size": 32}, {"lr": 0.03, "batch_size": 32, "optimizer": "adam"})
]


def main() -> None:
    assert importlib.util.find_spec("numba") is None, "Numba is here, which would hide what the wheel lacks"
    rng = np.random.default_rng(0)
    x = rng.uniform(-1, 1, size=(400, 2))
    y = (x[:, 0] * x[:, 1] > 0).astype(int)
    spec = [{"n": 2, "act": None}, {"n": 32, "act": "tanh"}, {"n": 2, "act": "softmax"}]
    begin = time.perf_counter()
    import fastmlp

    for way in WAYS:
        fastmlp.train(x, y, spec, epochs=1, seed=0, **way).model.predict(x)
    seconds = time.perf_counter() - begin
    for way in WAYS:
        model = fastmlp.train(x, y, spec, epochs=150, seed=0, **way).model
        right = np.mean(model.predict_class(x) == y)
        assert right > 0.95, f"{way}: {right:.2f} right"
    level = fastmlp.show_kernels("dicts")["kernels"]["level"]
    assert level.startswith("prebuilt "), level
    print(f"Python {sys.version.split()[0]}, NumPy {np.__version__}, {level}: {seconds:.3f} s")


if __name__ == "__main__":
    main()
