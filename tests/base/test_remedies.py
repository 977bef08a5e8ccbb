"""The commonest slips: each is answered with what to write, before any work."""

from __future__ import annotations

import copy
import pickle
import subprocess
import sys

import numpy as np
import pytest

import fastmlp
from fastmlp.base.remedies import OF_TRAINING
from fastmlp.optimizers import OPTIMIZERS, Adam

SPEC = [{"n": 2, "act": None}, {"n": 1, "act": "sigmoid"}]
X, Y = np.zeros((4, 2)), [0, 1, 1, 0]


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"learning_rate": 0.1}, "train() has no option 'learning_rate'; write lr=…"),
        ({"validation_split": 0.1}, "write validation_fraction=…"),
        ({"batch": 2}, "write batch_size=…"),
        ({"random_state": 2}, "write seed=…"),
        ({"unknown": 2}, "train() has no option 'unknown'"),
        ({"optimiser": "adam"}, "did you mean 'optimizer'?"),
        ({"optimizer": Adam}, "call the class: Adam()"),
    ],
)
def test_options_of_training(options, said):
    with pytest.raises(TypeError) as error:
        fastmlp.train(X, Y, SPEC, **options)
    assert said in str(error.value)
    if "optimizer" not in options:
        with pytest.raises(TypeError) as error:
            fastmlp.train_many(X, Y, [SPEC], **options)
        assert said.removeprefix("train() ") in str(error.value)


def test_remedies_are_options_that_there_are():
    for remedy in OF_TRAINING.values():
        if remedy.isidentifier():
            assert remedy in fastmlp.train.__kwdefaults__
    assert not OF_TRAINING.keys() & fastmlp.train.__kwdefaults__.keys()


@pytest.mark.parametrize("optimizer", sorted(OPTIMIZERS))
def test_the_learning_rate_is_no_setting_of_an_optimizer(optimizer):
    with pytest.raises(TypeError, match=r"has no option 'lr'; write the learning rate for train: fastmlp.train\("):
        OPTIMIZERS[optimizer](lr=0.1)
    made = OPTIMIZERS[optimizer]()
    assert pickle.loads(pickle.dumps(made)) == copy.deepcopy(made) == made


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("fit", "fastmlp.train(x, y, model, epochs=10), or model.partial_fit(x, y)"), ("summary", "print(model.spec)"),
        ("compile", "options of fastmlp.train"), ("predict_proba", "model.predict(x)"),
        ("weigths", "did you mean 'weights'?"),
    ],
)  # fmt: skip
def test_attributes_of_models(name, said):
    model = fastmlp.MLP(SPEC)
    with pytest.raises(AttributeError, match=f"'MLP' object has no attribute '{name}'") as error:
        getattr(model, name)
    assert said in str(error.value)
    assert not hasattr(model, "__array__") and pickle.loads(pickle.dumps(model)) == copy.deepcopy(model) == model


def test_the_result_of_training_is_no_model():
    result = fastmlp.train(X, Y, SPEC, epochs=1)
    with pytest.raises(AttributeError, match=r"'predict'; train returns two: model, history = fastmlp.train\(...\)"):
        _ = result.predict
    with pytest.raises(AttributeError, match=r"'TrainResult' object has no attribute 'shape'$"):
        _ = result.shape


def test_what_the_package_has_elsewhere():
    for name, place in (
        ("MLPClassifier", "fastmlp.sklearn"),
        ("Adam", "fastmlp.optimizers"),
        ("to_onnx", "fastmlp.interop"),
    ):
        with pytest.raises(AttributeError, match=rf"no attribute '{name}': it is {place}\.{name}"):
            getattr(fastmlp, name)


@pytest.mark.parametrize(
    "module", ["sklearn", "tables", "plotting", "datasets", "nn2", "metrics", "losses", "reference"]
)
def test_modules_are_imported_when_they_are_asked_for(module):
    script = f"import fastmlp; print(fastmlp.{module}.__name__)"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert done.stdout == f"fastmlp.{module}\n", done.stderr
