"""A stream that drifts: a network that goes on learning follows it, one that was trained once goes stale.

The rule by which samples are labelled turns slowly. Each sample is first predicted, then learnt from ("test, then
train", the usual way of judging a stream).
"""

import time

import numpy as np

import fastmlp

rng = np.random.default_rng(0)
N = 20_000


def sample(t: int) -> tuple[np.ndarray, int]:
    """Two numbers, and on which side of a bent line they lie that has turned by t samples."""
    angle = np.pi * t / N
    x = rng.uniform(-1, 1, 2)
    along, across = x @ [np.cos(angle), np.sin(angle)], x @ [-np.sin(angle), np.cos(angle)]
    return x[None], int(across > 0.3 * np.sin(3 * along))


spec = [{"n": 2, "act": None}, {"n": 16, "act": "tanh"}, {"n": 1, "act": "sigmoid"}]
first = [sample(0) for _ in range(1000)]
stale, _ = fastmlp.train(np.concatenate([x for x, _ in first]), [y for _, y in first], spec, lr=0.1, epochs=30, seed=0)
learner = stale.copy()

right = np.zeros((2, N))
begin = time.perf_counter()
for t in range(N):
    x, y = sample(t)
    right[0, t] = (stale.predict(x)[0, 0] > 0.5) == y
    right[1, t] = learner.partial_fit(x, [y], lr=0.1)["accuracy"]  # of the prediction before it was learnt from
seconds = time.perf_counter() - begin

print("samples          trained once   goes on learning")
for part in np.split(np.arange(N), 5):
    once, on = right[:, part].mean(axis=1)
    print(f"{part[0]:6d} to {part[-1] + 1:6d}     {100 * once:5.1f} %           {100 * on:5.1f} %")
print(f"{1e6 * seconds / N:.0f} µs a sample for two predictions, one step of learning and the stream itself")
assert right[1].mean() > 0.9 > right[0].mean()
