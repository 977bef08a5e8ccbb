"""scikit-learn's MLPClassifier and MLPRegressor on fastmlp's kernels, and what those lack beside."""

from .estimators import MLPClassifier, MLPRegressor

__all__ = ["MLPClassifier", "MLPRegressor"]
