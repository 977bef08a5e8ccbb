"""scikit-learn's MLPClassifier and MLPRegressor on fastmlp's kernels, with more options, and ensembles of them."""

from ..base.extras import require

require("sklearn", "sklearn", "fastmlp.sklearn")

from .ensembles import EnsembleClassifier, EnsembleRegressor  # noqa: E402
from .estimators import MLPClassifier, MLPRegressor  # noqa: E402

__all__ = ["EnsembleClassifier", "EnsembleRegressor", "MLPClassifier", "MLPRegressor"]
