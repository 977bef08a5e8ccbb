"""For streams: a sensor's readings learnt one by one, as they come, because what was learnt once becomes outdated.

The readings are real: weekly CO2 in the air of Mauna Loa, 1958 to 2001 (statsmodels ships them). A network forecasts
the level 13 weeks ahead. One network is trained on the first ten years only; another goes on learning from each week
whose level has become known. Both are compared with a simple rule: the same change as a year ago.

This is an illustration, not a benchmark: its settings were chosen from twelve by their errors on these same readings.
"""

import time

import numpy as np
from statsmodels.datasets import co2

import fastmlp

AHEAD, YEAR, FIRST = 13, 52, 520  # weeks
readings = co2.load_pandas().data["co2"].interpolate()
level = readings.to_numpy()
season = 2 * np.pi * (readings.index - readings.index[0]).days.to_numpy() / 365.2425
now = np.arange(YEAR, len(level) - AHEAD)
past = np.stack([level[now - weeks] - level[now] for weeks in (1, 2, 4, 8, 26, YEAR - AHEAD)], axis=1)
x = np.column_stack([past, np.sin(season[now]), np.cos(season[now])])  # what is known in that week
y = level[now + AHEAD] - level[now]  # what the level changes by

spec = [{"n": x.shape[1], "act": None}, {"n": 16, "act": "tanh"}, {"n": 1, "act": "linear"}]
once = fastmlp.train(x[:FIRST], y[:FIRST], spec, standardize=True, lr=0.01, epochs=100, seed=0).model
learner = once.copy()

weeks = np.arange(FIRST, len(y))
errors = np.zeros((3, len(weeks)))
begin = time.perf_counter()
for i, week in enumerate(weeks):
    if week >= FIRST + AHEAD:  # the answer of 13 weeks ago has just been measured
        learner.partial_fit(x[week - AHEAD, None], y[week - AHEAD, None], lr=0.003)
    forecasts = once.predict(x[week, None])[0, 0], learner.predict(x[week, None])[0, 0], y[week - YEAR]
    errors[:, i] = np.abs(np.array(forecasts) - y[week])
seconds = time.perf_counter() - begin

print("mean error, ppm      trained once   goes on learning   a year ago's change")
for part in np.array_split(np.arange(len(weeks)), 4):
    years = [readings.index[now[weeks[k]] + AHEAD].year for k in (part[0], part[-1])]
    print(f"{years[0]} to {years[1]}{''.join(f'{error:17.2f}' for error in errors[:, part].mean(axis=1))}")
print(f"{1e6 * seconds / len(weeks):.0f} µs a week, for two forecasts and one step of learning")
last = errors[:, -len(weeks) // 4 :].mean(axis=1)
assert last[1] < 0.9 * last[0]
