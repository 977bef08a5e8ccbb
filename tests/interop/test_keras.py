"""Keras models there and back, against Keras's own predictions."""

from __future__ import annotations

import numpy as np
import pytest

import fastmlp
from fastmlp.activations import ACTIVATIONS
from fastmlp.interop import from_keras, to_keras

keras = pytest.importorskip("keras")
layers = keras.layers

pytestmark = pytest.mark.filterwarnings("ignore:.*derivative of step is zero")


def outputs(net, x):
    return keras.ops.convert_to_numpy(net(x))


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("act", ACTIVATIONS)
def test_every_activation_at_every_depth(act, dtype, network_of):
    """Keras multiplies float64 matrices in float32 unless TensorFlow does it."""
    affine = [{}, {"shift": 0.25}, {"scale": [1, 2, 3, 0.5, 1 / 3]}, {"shift": [1, 2, 3, 4, 5], "scale": 1 / 7}]
    x = np.random.default_rng(0).normal(size=(60, 5)).astype(dtype)
    for depth in (1, 2, 3, 4):
        model = network_of(act, depth, dtype, **affine[depth - 1])
        net = to_keras(model)
        if act != "step" or dtype == "float32":
            np.testing.assert_allclose(outputs(net, x), model.predict(x), rtol=2e-6, atol=2e-6)
        assert from_keras(net) == model


@pytest.mark.parametrize("act", ["gelu", "step", "sine", "leaky_relu"])
def test_saved_by_keras(act, network_of, tmp_path):
    model = network_of(act, shift=[1, 2, 3, 4, 5], scale=0.3)
    to_keras(model).save(tmp_path / "net.keras")
    assert from_keras(keras.models.load_model(tmp_path / "net.keras")) == model


def test_it_trains(network_of):
    net = to_keras(network_of("tanh", scale=2.0))
    net.compile("adam", "mse")
    x = np.random.default_rng(0).normal(size=(40, 5)).astype("f4")
    y = np.zeros((40, 8), np.float32)
    before = net.evaluate(x, y, verbose=0)
    net.fit(x, y, epochs=5, verbose=0)
    assert net.evaluate(x, y, verbose=0) < before
    np.testing.assert_allclose(from_keras(net).predict(x), outputs(net, x), atol=2e-6)


def sequential(*parts, shape=(4,)):
    return keras.Sequential([keras.Input(shape), *parts])


@pytest.mark.parametrize(
    ("part", "act"),
    [
        (layers.ReLU(), "relu"),
        (layers.ReLU(negative_slope=0.3), "leaky_relu"),
        (layers.LeakyReLU(negative_slope=0.3), "leaky_relu"),
        (layers.ELU(), "elu"),
        (layers.ELU(alpha=0.5), "elu"),
        (layers.ReLU(max_value=6), "relu6"),
        (layers.Activation("celu"), "elu"),
        (layers.Rescaling(2.0, offset=1.0), "linear"),
        (layers.Softmax(), "softmax"),
        (layers.Activation("swish"), "swish"),
        (layers.Activation("leaky_relu"), "leaky_relu"),
        (layers.Activation("linear"), "linear"),
    ],
)
def test_activations_as_layers(part, act):
    net = sequential(layers.Dense(3), part)
    x = np.random.default_rng(0).normal(size=(20, 4)).astype("f4")
    model = from_keras(net)
    assert model.spec.layers[0].act.name == act
    np.testing.assert_allclose(model.predict(x), outputs(net, x), atol=1e-6)


def test_normalization_and_rescaling():
    x = np.random.default_rng(0).normal(3, 2, size=(50, 4)).astype("f4")
    normalization = layers.Normalization()
    normalization.adapt(x)
    for part in (normalization, layers.Rescaling(1 / 255, offset=0.5), layers.Normalization(mean=2.0, variance=4.0)):
        net = sequential(part, layers.Dense(3, "relu"), layers.Dropout(0.5), layers.Dense(2, use_bias=False))
        model = from_keras(net)
        assert model.spec.scale is not None and not model.spec.layers[1].bias
        np.testing.assert_allclose(model.predict(x), outputs(net, x), rtol=2e-6, atol=2e-6)


def test_batch_normalization_is_folded():
    net = sequential(
        layers.BatchNormalization(), layers.Dense(5, use_bias=False), layers.BatchNormalization(scale=False),
        layers.Activation("tanh"), layers.BatchNormalization(center=False), layers.Dense(3, "log_softmax"),
        layers.Dropout(0.5),
    )  # fmt: skip
    rng = np.random.default_rng(0)
    for layer in net.layers:
        if isinstance(layer, layers.BatchNormalization):
            layer.set_weights([rng.uniform(0.5, 2, w.shape) for w in layer.get_weights()])
    x = rng.normal(size=(20, 4)).astype("f4")
    np.testing.assert_allclose(from_keras(net).predict(x), np.exp(outputs(net, x)), rtol=1e-5, atol=1e-6)


def test_functional_and_nested_models():
    x = inputs = keras.Input((2, 3))
    for part in (layers.Flatten(), layers.Dense(5, "silu"), sequential(layers.Dense(4, "tanh"), shape=(5,))):
        x = part(x)
    net = keras.Model(inputs, layers.Dense(3, "softmax")(x))
    x = np.random.default_rng(0).normal(size=(20, 2, 3)).astype("f4")
    model = from_keras(net)
    np.testing.assert_allclose(model.predict(x.reshape(20, 6)), outputs(net, x), atol=1e-6)
    assert from_keras(net, loss="mae").spec.loss.name == "mae"
    part = keras.Model(net.inputs[0], net.layers[2].output)  # shares its layers
    np.testing.assert_allclose(from_keras(part).predict(x.reshape(20, 6)), outputs(part, x), atol=1e-6)


def branched():
    x = keras.Input((4,))
    return keras.Model(x, layers.Add()([layers.Dense(4)(x), x]))


def two_outputs():
    x = keras.Input((4,))
    return keras.Model(x, [layers.Dense(4)(x), x])


@pytest.mark.parametrize(
    ("make", "trouble"),
    [
        (lambda: sequential(layers.Conv1D(2, 1, name="c"), shape=(4, 1)), r"layer 'c' \(Conv1D\) has no place"),
        (
            lambda: sequential(layers.Dense(3, "softmax"), layers.BatchNormalization()),
            r"\(BatchNormalization\) multiplies or adds to the outputs behind the last activation, softmax",
        ),
        (lambda: sequential(layers.Dense(3, "log_softmax"), layers.Dense(2)), "has the activation 'log_softmax'"),
        (lambda: sequential(layers.Dense(3, lambda z: z * z)), "has the activation '<lambda>'"),
        (lambda: sequential(layers.Dense(3, "glu", name="d")), r"layer 'd' \(Dense\) has the activation 'glu'"),
        (lambda: sequential(layers.Dense(3), layers.ReLU(max_value=5)), "max_value is 5"),
        (
            lambda: sequential(layers.Dense(3), layers.ReLU(6, negative_slope=0.1)),
            "both a max_value and a negative_slope",
        ),
        (lambda: sequential(layers.Dense(3), layers.PReLU()), "PReLU"),
        (
            lambda: sequential(layers.Dense(3, "tanh"), layers.Rescaling(-2.0)),
            "behind the last activation, tanh, by -2",
        ),
        (lambda: sequential(layers.Dense(3, "softmax"), layers.Rescaling(2.0)), r"\(Rescaling\) .* are probabilities"),
        (lambda: sequential(layers.Dense(3, "relu"), layers.Activation("tanh")), "follows another activation, relu"),
        (lambda: sequential(layers.Dense(3), shape=(2, 4)), "inputs of 2 axes, which are not flattened"),
        (lambda: sequential(layers.Dense(3, dtype="mixed_float16")), "computes in float16"),
        (lambda: keras.Sequential([layers.Dense(3)]), "net has no weights yet"),
        (branched, r"\(Add\) joins branches"),
        (two_outputs, "1 inputs and 2 outputs"),
        (lambda: sequential(layers.Flatten()), "no layer with weights"),
    ],
)
def test_refusals(make, trouble):
    with pytest.raises(ValueError, match=trouble):
        from_keras(make())


def test_what_is_no_model():
    with pytest.raises(TypeError, match=r"net must be a keras\.Model, got Dense"):
        from_keras(layers.Dense(3))


def test_frozen_layers_are_not_trainable():
    spec = [{"n": 3, "act": None}, {"n": 4, "act": "tanh", "trainable": False}, {"n": 2, "act": "linear"}]
    model = fastmlp.MLP(spec, seed=0)
    net = to_keras(model)
    assert [layer.trainable for layer in net.layers] == [False, True]
    assert len(net.trainable_variables) == 2
    assert from_keras(net) == model
