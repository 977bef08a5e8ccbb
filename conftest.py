"""For the tests and for the examples in docstrings alike."""

import os

os.environ.setdefault("KERAS_BACKEND", "torch")  # the one that is installed with the tests
