"""Steps and processor time to a mean squared error of 1e-10 by Levenberg-Marquardt: fastmlp beside SciPy's MINPACK with
the analytic Jacobian of `MLP.jacobian`, from the same ten starts. What another network of that shape gives is learnt.
"""

import time
from contextlib import suppress

import numpy as np
from scipy.optimize import least_squares

import fastmlp

ENOUGH, MOST = 1e-10, 300


class Reached(Exception):
    pass


def ours(model, x, y):
    """Seconds, steps, milliseconds a step, and whether it got there."""

    def stop(state):
        if 2 * state.history["loss"][-1] / y.shape[1] <= ENOUGH:
            state.stop()

    begin = time.process_time()
    _, history = fastmlp.train(x, y, model, optimizer="lm", epochs=MOST, callbacks=stop)
    seconds = time.process_time() - begin
    return seconds, history.epochs, seconds / history.epochs * 1e3, np.mean((model.predict(x) - y) ** 2) <= ENOUGH


def scipys(model, x, y):
    steps, reached = 0, False

    def residuals(params):
        nonlocal reached
        model.params = params
        errors = (model.predict(x) - y).ravel()
        reached = errors @ errors / errors.size <= ENOUGH
        if reached:
            raise Reached
        return errors

    def slopes(params):
        nonlocal steps
        steps += 1
        model.params = params
        return model.jacobian(x).reshape(y.size, -1)

    begin = time.process_time()
    with suppress(Reached):
        least_squares(residuals, model.params.copy(), slopes, method="lm", max_nfev=MOST)
    seconds = time.process_time() - begin
    return seconds, steps, seconds / steps * 1e3, reached


for n_in, n_hidden, n_out in ((1, 10, 1), (4, 20, 3)):
    spec = [{"n": n_in, "act": None}, {"n": n_hidden, "act": "tanh"}, {"n": n_out, "act": "linear"}]
    x = np.random.default_rng(0).normal(size=(200, n_in))
    y = fastmlp.MLP(spec, seed=77, dtype="float64").predict(x)
    starts = [fastmlp.MLP(spec, seed=seed, dtype="float64") for seed in range(10)]
    ours(starts[0].copy(), x, y)
    runs = [[fit(start.copy(), x, y) for fit in (ours, scipys)] for start in starts]
    ratio = np.median([a[0] / b[0] for a, b in runs if a[3] and b[3]])
    print(f"{n_in}-{n_hidden}-{n_out}: {ratio:.2f} of SciPy's time, the median of starts from which both get there")
    for name, fits in zip(("fastmlp", "SciPy"), zip(*runs, strict=True), strict=True):
        _, steps, each, there = zip(*fits, strict=True)
        counts = [f"{n}{'' if got else '*'}" for n, got in zip(steps, there, strict=True)]
        print(f"  {name}: {np.median(each):.2f} ms a step, steps {', '.join(counts)} (*: more than 1e-10)")
