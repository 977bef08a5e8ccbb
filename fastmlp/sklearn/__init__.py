"""scikit-learn's MLPClassifier and MLPRegressor on fastmlp's kernels, with more activations, losses and options."""

from .estimators import MLPClassifier, MLPRegressor

__all__ = ["MLPClassifier", "MLPRegressor"]
