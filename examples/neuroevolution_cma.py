"""For control: a network learns to swing up a simulated pendulum and to hold it, by the evolution strategy CMA-ES.

That is the covariance matrix adaptation of Hansen and Ostermeier (2001), from the library cma.

The motor is too weak to lift the pendulum at once: it must swing to and fro first. The simulator is compiled by Numba
and moves all pendulums of all policies at once.
"""

import time

import cma
import numba
import numpy as np

import fastmlp

STEPS, DT = 200, 0.05  # ten seconds
SPEC = [{"n": 3, "act": None}, {"n": 8, "act": "tanh"}, {"n": 1, "act": "tanh"}]
POLICIES = 64  # in a generation


@numba.njit
def observe(states, observations):
    """What a network sees of a pendulum (angle from upright, angular speed): cosine, sine and speed."""
    for i in range(states.shape[0]):
        for k in range(states.shape[1]):
            angle, speed = states[i, k]
            observations[i, k] = (np.cos(angle), np.sin(angle), speed / 8)


@numba.njit
def swing(states, outputs, costs):
    """One step of every pendulum (n_policies, n_trials, 2): a rod of 1 m and 1 kg, a motor of at most 2 Nm."""
    for i in range(states.shape[0]):
        for k in range(states.shape[1]):
            angle, speed = states[i, k]
            torque = 2 * outputs[i, k, 0]
            off = (angle + np.pi) % (2 * np.pi) - np.pi
            costs[i] += off * off + 0.1 * speed * speed + 0.001 * torque * torque
            speed = min(max(speed + DT * (15 * np.sin(angle) + 3 * torque), -8), 8)
            states[i, k] = (angle + DT * speed, speed)


def cost(policies, n_trials=4):
    """What a step costs each policy (n_policies,), over trials that begin near the bottom, and the last states."""
    angles = np.linspace(np.pi - 0.5, np.pi + 0.5, n_trials)
    states = np.tile(np.stack([angles, np.zeros(n_trials)], axis=1), (len(policies), 1, 1))
    observations = np.empty((*states.shape[:2], 3), np.float32)
    outputs, costs = np.empty((*states.shape[:2], 1), np.float32), np.zeros(len(policies))
    for _ in range(STEPS):
        observe(states, observations)
        fastmlp.predict_many(SPEC, policies, observations, out=outputs)
        swing(states, outputs, costs)
    return costs / (STEPS * n_trials), states


def upright(policy, n_trials=20):
    """The share of pendulums that the policy (n_params,) has brought upright in the end."""
    _, states = cost(policy[None].astype(np.float32), n_trials)
    return (np.cos(states[0, :, 0]) > 0.95).mean()


mean = fastmlp.MLP(SPEC, seed=0).params
strategy = cma.CMAEvolutionStrategy(mean.astype(np.float64), 1.0, {"popsize": POLICIES, "seed": 1, "verbose": -9})
print(f"{mean.size} parameters, {strategy.popsize} policies a generation, {upright(mean):.0%} upright")  # compiles, too
for generation in range(1, 201):
    start = time.perf_counter()
    policies = np.array(strategy.ask())
    asked = time.perf_counter()
    costs, _ = cost(policies.astype(np.float32))
    tried = time.perf_counter()
    strategy.tell(list(policies), costs.tolist())
    told = time.perf_counter()
    mean = strategy.result.xfavorite
    share = upright(mean)
    if generation % 10 == 0 or share == 1:
        times = f"{1000 * (tried - asked):.0f} ms of trials, {1000 * (told - tried + asked - start):.0f} of CMA-ES"
        print(f"generation {generation}: a step costs {np.median(costs):.2f}, {share:4.0%} upright; {times}")
    if share == 1:
        break
assert share == 1

policy = fastmlp.MLP(SPEC)  # a network like any other now
policy.params = mean
