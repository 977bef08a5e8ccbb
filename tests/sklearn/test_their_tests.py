"""scikit-learn's own tests of its MLPs, read from the installed scikit-learn, with nothing but the import changed."""

from __future__ import annotations

from pathlib import Path

import pytest

neural_network = pytest.importorskip("sklearn.neural_network")

# Some of them let estimators end unconverged, or divide by zero on purpose.
pytestmark = [
    pytest.mark.filterwarnings("default::sklearn.exceptions.ConvergenceWarning"),
    pytest.mark.filterwarnings("default::UserWarning"),
    pytest.mark.filterwarnings("default::RuntimeWarning"),
]

PRIVATE = {"test_gradient": "_loss_grad_lbfgs"}  # what the test reads
THEIRS = "from sklearn.neural_network import MLPClassifier, MLPRegressor\n"
OURS = "from fastmlp.sklearn import MLPClassifier, MLPRegressor\n"

path = Path(neural_network.__file__).parent / "tests" / "test_mlp.py"
if not path.exists():
    pytest.skip("this scikit-learn comes without its tests", allow_module_level=True)
source = path.read_text(encoding="utf-8")
assert source.count(THEIRS) == 1
exec(compile(source.replace(THEIRS, OURS), path, "exec"))
for name, attribute in PRIVATE.items():
    assert f"mlp.{attribute}" in source
    del globals()[name]


@pytest.fixture
def global_random_seed():
    """A fixture of scikit-learn's conftest.py."""
    return 42
