"""Balance a pole on a cart without a single gradient: evolve the parameter vector of a small network.

The cart-pole of Barto, Sutton and Anderson (1983), in NumPy; evolution strategies as Salimans et al. (2017, "Evolution
strategies as a scalable alternative to reinforcement learning"): try the parameters with noise added, and move towards
the noise that did well. `model.params` is one vector, so this is a few lines.
"""

import numpy as np

import fastmlp

STEPS = 500  # ten seconds
GRAVITY, CART, POLE, HALF_LENGTH, FORCE, DT = 9.8, 1.0, 0.1, 0.5, 10.0, 0.02


def balanced(policy: fastmlp.MLP, seed: int, trials: int = 4) -> float:
    """The number of steps for which the pole stays up, the mean of trials that begin a little askew."""
    states = np.random.default_rng(seed).uniform(-0.1, 0.1, (trials, 4))  # place, speed, angle, angular speed
    up, total = np.ones(trials, bool), 0
    for _ in range(STEPS):
        force = np.where(policy.predict(states)[:, 0] > 0, FORCE, -FORCE)  # push to the right or to the left
        _, speed, angle, turn = states.T
        pull = (force + POLE * HALF_LENGTH * turn**2 * np.sin(angle)) / (CART + POLE)
        arm = HALF_LENGTH * (4 / 3 - POLE * np.cos(angle) ** 2 / (CART + POLE))
        turning = (GRAVITY * np.sin(angle) - np.cos(angle) * pull) / arm
        pushing = pull - POLE * HALF_LENGTH * turning * np.cos(angle) / (CART + POLE)
        states += DT * np.stack([speed, pushing, turn, turning], axis=1)
        up &= (np.abs(states[:, 0]) < 2.4) & (np.abs(states[:, 2]) < 0.21)
        if not up.any():
            break
        total += up.sum()
    return total / trials


spec = [{"n": 4, "act": None}, {"n": 8, "act": "tanh"}, {"n": 1, "act": "tanh"}]
policy = fastmlp.MLP(spec, seed=0)
mutant = policy.copy()
rng = np.random.default_rng(0)
NOISE, RATE, PAIRS = 0.3, 0.5, 12

print(f"{policy.params.size} parameters; generation 0 balances for {balanced(policy, seed=999):.0f} of {STEPS} steps")
for generation in range(1, 31):
    noises = rng.normal(size=(PAIRS, policy.params.size))
    gains = np.zeros(PAIRS)
    for i, noise in enumerate(noises):
        for sign in (1, -1):  # a mutation and its opposite, from the same beginnings
            mutant.params = policy.params + sign * NOISE * noise
            gains[i] += sign * balanced(mutant, seed=generation)
    if gains.any():
        policy.params += RATE * NOISE * (gains / np.abs(gains).max()) @ noises / np.sqrt(PAIRS)
    score = balanced(policy, seed=999, trials=20)
    if generation % 5 == 0 or score == STEPS:
        print(f"generation {generation}: {score:.0f} steps")
    if score == STEPS:
        break
assert score > 400
