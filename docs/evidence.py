"""The evidence of docs/what-to-start-with.md: tables that come with scikit-learn and statsmodels, learnt in many ways.

``python docs/evidence.py`` prints the page's tables, in a minute of one core. Each number is a mean over three
splits of a table, 70 % to train on and 30 % to test on. Nothing is tuned to the test rows: every setting is shown.
"""

from __future__ import annotations

import numpy as np
import statsmodels.datasets as statistics
from sklearn import datasets
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.model_selection import train_test_split
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

import fastmlp

SPLITS = range(3)


def tables() -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """x and y of each table; y is an int for classes, a float for numbers."""
    votes, marriages = statistics.anes96.load_pandas().data, statistics.fair.load_pandas().data
    visits, journeys = statistics.randhie.load_pandas().data, statistics.modechoice.load_pandas().data
    return {
        "iris": datasets.load_iris(return_X_y=True),
        "wine": datasets.load_wine(return_X_y=True),
        "breast cancer": datasets.load_breast_cancer(return_X_y=True),
        "digits": datasets.load_digits(return_X_y=True),
        "votes": (votes.drop(columns=["vote", "logpopul"]).to_numpy(), votes["vote"].to_numpy(int)),
        "affairs": (marriages.drop(columns="affairs").to_numpy(), (marriages["affairs"] > 0).to_numpy(int)),
        "travel": (journeys.drop(columns=["individual", "choice"]).to_numpy(float), journeys["choice"].to_numpy(int)),
        "diabetes": datasets.load_diabetes(return_X_y=True),
        "doctor's visits": (visits.drop(columns="mdvis").to_numpy(float), np.log1p(visits["mdvis"].to_numpy(float))),
    }


def spec(x: np.ndarray, y: np.ndarray, hidden: list[int]) -> list[dict]:
    """A relu network for the table, linear for numbers and softmax for classes."""
    last = {"n": int(y.max()) + 1, "act": "softmax"} if y.dtype.kind == "i" else {"n": 1, "act": "linear"}
    return [{"n": x.shape[1], "act": None}, *({"n": n, "act": "relu"} for n in hidden), last]


def score(model, x: np.ndarray, y: np.ndarray) -> float:
    """The share of right classes, or R²."""
    if y.dtype.kind == "i":
        return model.evaluate(x, y)["accuracy"]
    return model.evaluate(x, y, metrics="r2")["r2"]


def mean_score(x: np.ndarray, y: np.ndarray, hidden: list[int], **options) -> tuple[float, float]:
    """Score and epochs, means over the splits."""
    found = []
    for seed in SPLITS:
        x_train, x_test, y_train, y_test = split(x, y, seed)
        settings = {"standardize": True, "seed": seed, **options}
        try:
            model, history = fastmlp.train(x_train, y_train, spec(x, y, hidden), **settings)
        except fastmlp.DivergenceError:
            return np.nan, np.nan
        found.append((score(model, x_test, y_test), len(history["loss"])))
    return tuple(np.mean(found, axis=0))


def split(x: np.ndarray, y: np.ndarray, seed: int) -> list[np.ndarray]:
    """The table in two, with a share of each class in both parts."""
    return train_test_split(x, y, test_size=0.3, random_state=seed, stratify=y if y.dtype.kind == "i" else None)


def linear(x: np.ndarray, y: np.ndarray) -> float:
    """The score of logistic or ridge regression."""
    found = []
    for seed in SPLITS:
        x_train, x_test, y_train, y_test = split(x, y, seed)
        simple = LogisticRegression(max_iter=1000) if y.dtype.kind == "i" else Ridge()
        found.append(make_pipeline(StandardScaler(), simple).fit(x_train, y_train).score(x_test, y_test))
    return float(np.mean(found))


def table(title: str, columns: dict[str, dict], stop: bool = True) -> None:
    """Print a Markdown table: a row a data set, a column a setting."""
    print(f"\n| {title} | {' | '.join(columns)} |\n|{'---|' * (len(columns) + 1)}")
    for name, (x, y) in tables().items():
        cells = []
        for options in columns.values():
            if options == {"linear": True}:
                cells.append(f"{linear(x, y):.3f}")
                continue
            until = {"epochs": 500, "validation_fraction": 0.15, "early_stopping": 15} if stop else {}
            value, epochs = mean_score(x, y, **{"hidden": [32], **until, **options})
            cells.append("diverges" if np.isnan(value) else f"{value:.3f} ({epochs:.0f})" if stop else f"{value:.3f}")
        print(f"| {name}, {len(x):,} × {x.shape[1]} | {' | '.join(cells)} |")


if __name__ == "__main__":
    table(
        "hidden layers (epochs)",
        {
            "linear model": {"linear": True},
            "8": {"hidden": [8]},
            "32": {"hidden": [32]},
            "128": {"hidden": [128]},
            "32, 32": {"hidden": [32, 32]},
        },
    )
    table("lr, batch size 1 (epochs)", {f"{lr:g}": {"lr": lr} for lr in (0.001, 0.003, 0.01, 0.03, 0.1)})
    table(
        "optimiser, batch, lr (epochs)",
        {
            "sgd, 1, 0.01": {"lr": 0.01},
            "sgd, 32, 0.1": {"batch_size": 32, "lr": 0.1},
            "adam, 1, 0.001": {"optimizer": "adam", "lr": 0.001},
            "adam, 32, 0.003": {"optimizer": "adam", "batch_size": 32, "lr": 0.003},
        },
    )
    table(
        "l2, two hidden layers of 32, lr 0.003 (epochs)",
        {f"{l2:g}": {"hidden": [32, 32], "lr": 0.003, "l2": l2} for l2 in (0, 0.001, 0.01, 0.1)},
    )
    table("raw or scaled, sgd, lr 0.01 (epochs)", {"raw": {"standardize": False}, "standardize=True": {}})
    table("epochs, no stopping", {str(n): {"epochs": n} for n in (5, 20, 100, 500)}, stop=False)
