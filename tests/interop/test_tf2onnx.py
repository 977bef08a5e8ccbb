"""What tf2onnx writes of Keras networks under TensorFlow, both of them real. They are not among the tests' packages."""

from __future__ import annotations

import importlib.util
import json
import os
import subprocess
import sys

import numpy as np
import pytest

pytest.importorskip("onnx")

from fastmlp.interop import from_onnx

if not all(importlib.util.find_spec(name) for name in ("tensorflow", "tf2onnx", "keras")):
    pytest.skip("needs TensorFlow, Keras and tf2onnx", allow_module_level=True)

# tf2onnx 1.17 writes Keras's gelu with an operator that ONNX has not.
LAYERS = {
    "softmax": "L.Dense(8, 'relu'), L.Dense(3, 'softmax')",
    "sigmoid": "L.Dense(8, 'tanh'), L.Dense(1, 'sigmoid')",
    "log_softmax": "L.Dense(8, 'tanh'), L.Dense(3, 'log_softmax')",
    "exponential": "L.Dense(8, 'tanh'), L.Dense(1, 'exponential')",
    "normalised": "L.Dense(8), L.BatchNormalization(), L.ReLU(), L.Dropout(0.3), L.Dense(2)",
    "normalised first": "L.BatchNormalization(), L.Dense(8, 'relu'), L.Dense(2)",
    "rescaled": "L.Rescaling(1 / 255, -0.5), L.Dense(8, 'relu'), L.Dense(2)",
    "without biases": "L.Dense(8, 'relu', use_bias=False), L.Dense(2)",
    **{
        act: f"L.Dense(8, {act!r}), L.Dense(2)"
        for act in [
            "elu",
            "selu",
            "softplus",
            "softsign",
            "swish",
            "leaky_relu",
            "relu6",
            "hard_sigmoid",
            "hard_silu",
            "mish",
        ]
    },
}
SCRIPT = """
import json, sys
import keras, numpy as np, tensorflow as tf, tf2onnx
L, rng, x = keras.layers, np.random.default_rng(0), np.load("x.npy")
for i, layers in enumerate(json.loads(sys.argv[1])):
    net = keras.Sequential([keras.Input((6,)), *eval(f"[{layers}]")])
    for w in net.weights:
        w.assign(rng.uniform(0.5, 2, w.shape) if "variance" in w.name else rng.normal(size=w.shape) / 2)
    f = tf.function(lambda x: net(x, training=False), input_signature=[tf.TensorSpec([None, 6], tf.float32)])
    tf2onnx.convert.from_function(f, input_signature=f.input_signature, output_path=f"{i}.onnx")
    np.save(f"{i}.npy", np.asarray(net(x, training=False)))
"""


def test_networks_of_keras_and_tensorflow(tmp_path):
    x = np.random.default_rng(1).normal(size=(20, 6)).astype(np.float32)
    np.save(tmp_path / "x.npy", x)
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT, json.dumps([*LAYERS.values()])], cwd=tmp_path, capture_output=True, text=True,
        env=os.environ | {"KERAS_BACKEND": "tensorflow", "TF_CPP_MIN_LOG_LEVEL": "3"},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-2000:]
    back = {"log_softmax": np.log, "exponential": np.exp}  # what is read without its last step
    for i, name in enumerate(LAYERS):
        outputs = from_onnx(tmp_path / f"{i}.onnx").predict(x)
        outputs = back[name](outputs) if name in back else outputs
        np.testing.assert_allclose(outputs, np.load(tmp_path / f"{i}.npy"), atol=3e-6, rtol=1e-5, err_msg=name)
