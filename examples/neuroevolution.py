"""For control without gradients: a pole is balanced on a cart by evolving the parameters of a small network.

The cart-pole of Barto, Sutton and Anderson (1983), simulated under Numba for all policies and trials at once. The
strategy is that of Salimans et al. ("Evolution strategies as a scalable alternative to reinforcement learning", 2017):
try the parameters with noise added and taken away, rank what came of it, and move towards the noise that did well.
"""

import time

import numba
import numpy as np

import fastmlp

STEPS = 500  # ten seconds
GRAVITY, CART, POLE, HALF_LENGTH, FORCE, DT = 9.8, 1.0, 0.1, 0.5, 10.0, 0.02
SPEC = [{"n": 4, "act": None}, {"n": 8, "act": "tanh"}, {"n": 1, "act": "tanh"}]
PAIRS = 32  # of policies in a generation


@numba.njit
def push(states, outputs, up, scores):
    """One step of every cart: states (n_policies, n_trials, 4), as its network says. Count those that are still up."""
    n_up = 0
    for i in range(states.shape[0]):
        for k in range(states.shape[1]):
            if not up[i, k]:
                continue
            place, speed, angle, turn = states[i, k]
            force = FORCE if outputs[i, k, 0] > 0 else -FORCE  # to the right or to the left
            sin, cos = np.sin(angle), np.cos(angle)
            pull = (force + POLE * HALF_LENGTH * turn * turn * sin) / (CART + POLE)
            turning = (GRAVITY * sin - cos * pull) / (HALF_LENGTH * (4 / 3 - POLE * cos * cos / (CART + POLE)))
            pushing = pull - POLE * HALF_LENGTH * turning * cos / (CART + POLE)
            states[i, k] = (place + DT * speed, speed + DT * pushing, angle + DT * turn, turn + DT * turning)
            up[i, k] = abs(states[i, k, 0]) < 2.4 and abs(states[i, k, 2]) < 0.21
            scores[i] += up[i, k]
            n_up += up[i, k]
    return n_up


def balanced(policies, rng, n_trials=4):
    """The steps for which each policy keeps the pole up, the mean of trials that begin alike for all: (n_policies,)."""
    states = np.tile(rng.uniform(-0.1, 0.1, (n_trials, 4)).astype(np.float32), (len(policies), 1, 1))
    outputs = np.empty((len(policies), n_trials, 1), np.float32)
    up, scores = np.ones(states.shape[:2], bool), np.zeros(len(policies))
    for _ in range(STEPS):
        fastmlp.predict_many(SPEC, policies, states, out=outputs)
        if not push(states, outputs, up, scores):
            break
    return scores / n_trials


class OpenAIES:
    """Evolution strategies of Salimans et al., with Adam: ask for policies, tell their scores; `mean` gets better."""

    def __init__(self, mean, n_pairs, noise=0.2, lr=0.1, seed=0):
        self.mean, self.n_pairs, self.noise, self.lr = mean.astype(np.float64), n_pairs, noise, lr
        self.rng = np.random.default_rng(seed)
        self.momentum, self.square, self.steps = np.zeros(mean.size), np.zeros(mean.size), 0

    def ask(self):
        """Policies (2 n_pairs, n_params): the mean with noise, and the mean with its opposite."""
        half = self.rng.normal(size=(self.n_pairs, self.mean.size))
        self.noises = np.concatenate([half, -half])
        return (self.mean + self.noise * self.noises).astype(np.float32)

    def tell(self, scores):
        """Move the mean, by the ranks of the scores, from -½ to ½; equal scores share theirs."""
        order = np.sort(scores)
        ranks = (np.searchsorted(order, scores) + np.searchsorted(order, scores, side="right") - 1) / 2
        shaped = ranks / (len(scores) - 1) - 0.5
        gradient = shaped @ self.noises / (len(scores) * self.noise)
        self.steps += 1
        self.momentum += 0.1 * (gradient - self.momentum)
        self.square += 0.001 * (gradient**2 - self.square)
        size = self.lr * np.sqrt(1 - 0.999**self.steps) / (1 - 0.9**self.steps)
        self.mean += size * self.momentum / (np.sqrt(self.square) + 1e-8)


strategy = OpenAIES(fastmlp.MLP(SPEC, seed=0).params, PAIRS)
rng = np.random.default_rng(0)
balanced(strategy.ask(), rng)  # Numba compiles the simulator
print(f"{strategy.mean.size} parameters, {2 * PAIRS} policies a generation")
for generation in range(100):
    start = time.perf_counter()
    policies = strategy.ask()
    scores = balanced(policies, rng)
    strategy.tell(scores)
    seconds = time.perf_counter() - start
    (score,) = balanced(strategy.mean[None].astype(np.float32), np.random.default_rng(999), n_trials=20)
    if generation % 5 == 0 or score == STEPS:
        print(f"generation {generation}: up for {score:.0f} of {STEPS} steps; {1000 * seconds:.0f} ms")
    if score == STEPS:
        break
assert score > 400

policy = fastmlp.MLP(SPEC)  # a network like any other now
policy.params = strategy.mean
