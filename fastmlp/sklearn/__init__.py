"""scikit-learn's MLPClassifier and MLPRegressor on fastmlp's kernels, with more options, and ensembles of them."""

from .ensembles import EnsembleClassifier, EnsembleRegressor
from .estimators import MLPClassifier, MLPRegressor

__all__ = ["EnsembleClassifier", "EnsembleRegressor", "MLPClassifier", "MLPRegressor"]
