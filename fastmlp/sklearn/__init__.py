"""scikit-learn's MLPClassifier and MLPRegressor on fastmlp's kernels, with more options, and ensembles of them."""

from ..base.extras import require

require("sklearn", "sklearn", "fastmlp.sklearn")

from .ensembles import EnsembleClassifier, EnsembleRegressor  # noqa: E402
from .estimators import MLPClassifier, MLPRegressor  # noqa: E402

for _kind in (EnsembleClassifier, EnsembleRegressor, MLPClassifier, MLPRegressor):
    _kind.__module__ = __name__  # what pickles and skops' files know them by, wherever in here they stand

__all__ = ["EnsembleClassifier", "EnsembleRegressor", "MLPClassifier", "MLPRegressor"]
