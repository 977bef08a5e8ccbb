"""For those who need a range, not only a number: intervals that hold nine of ten new values, on a real table.

Engel's 235 households: what they spend on food, by their income. The rich differ more than the poor, so that one width
for all is too wide for the poor and too narrow for the rich. All intervals are calibrated on rows that the networks
were not trained on (split conformal prediction), and measured on others; twenty splits, so that the shares say
something.
"""

import numpy as np
import statsmodels.api as sm

import fastmlp
from fastmlp import intervals

table = sm.datasets.engel.load_pandas().data
x, y = table[["income"]].to_numpy(), table["foodexp"].to_numpy()
options = {"optimizer": "adam", "batch_size": 8, "epochs": 60, "lr": 0.01, "l2": 0.01, "standardize": True, "seed": 0}
kinds = {"one width": ("mse", 1), "mean and variance": ("gaussian_nll", 2), "quantiles": ("quantile(0.05, 0.95)", 2)}
poor = x[:, 0] < np.median(x)

print("intervals for 90 % of the households' expenses on food")
for kind, (loss, n_out) in kinds.items():
    spec = [{"n": 1, "act": None}, {"n": 8, "act": "tanh"}, {"n": n_out, "act": "linear", "cost": loss}]
    inside, widths = np.full((20, len(x)), np.nan), np.full((20, len(x)), np.nan)
    for split in range(20):
        rows = np.random.default_rng(split).permutation(len(x))
        training, calibrating, new = np.split(rows, [100, 170])
        model, _ = fastmlp.train(x[training], y[training], spec, **options)
        found = intervals.calibrate(model, x[calibrating], y[calibrating], coverage=0.9)
        lower, upper = (side[:, 0] for side in found.predict(x[new]))
        inside[split, new], widths[split, new] = (lower <= y[new]) & (y[new] <= upper), upper - lower
    print(f"  {kind}: {np.nanmean(inside):.1%} of new households are inside")
    for name, some in ("poorer half", poor), ("richer half", ~poor):
        print(f"    {name}: {np.nanmean(inside[:, some]):.1%}, width {np.nanmean(widths[:, some]):.0f} francs")
    assert abs(np.nanmean(inside) - 0.9) < 0.03
    gap = np.nanmean(inside[:, poor]) - np.nanmean(inside[:, ~poor])
    assert (gap > 0.1) == (kind == "one width")
