"""The one list of kernels: each entry has its file, its function and a loader, and the arguments that it says."""

from __future__ import annotations

import importlib
import inspect
from pathlib import Path

import pytest

import fastmlp.kernels
from fastmlp.activations import ACTIVATIONS
from fastmlp.kernels import catalog, compiler, store
from fastmlp.kernels.catalog import KERNELS
from fastmlp.kernels.variants import built_in
from fastmlp.losses import LOSSES
from fastmlp.optimizers import OPTIMIZERS

# What a family's kernels are called behind its name; the others have one kernel each.
VARIANTS = {
    "reader": ["float32", "float64", "uint8", "int64"],
    "sparse_reader": ["float32.int32", "float64.int64"],
    "activation": list(ACTIVATIONS),
    "higher_derivative": [
        f"{order}.{name}"
        for name, activation in ACTIVATIONS.items()
        for order in (2, 3)
        if activation.elementwise and not activation.vanishes(order)
    ],
    "residual": [],  # which are the user's
    "loss": [f"{loss.name}.{output}" for loss in LOSSES.values() for output in (*loss.fused, "")],
    "prepare": [name for name, kind in OPTIMIZERS.items() if kind.rule],
    "step": [f"{name}.{kind().states}" for name, kind in OPTIMIZERS.items() if kind.rule] + ["sgd.1"],
}
VARIANTS["samples_of_shape"] = VARIANTS["gradient_of_shape"] = [
    "4-16.relu-3.tanh.unbiased-2.softmax/cross_entropy.softmax",
    "1-1.linear/mse.",
]
VARIANTS |= {f"lane_{family}": VARIANTS[family] for family in ("loss", "step")}
VARIANTS["loss_curvature"] = [name for name in VARIANTS["loss"] if LOSSES[name.rpartition(".")[0]].second_derivative]
NAMES = [(family, variant) for family in KERNELS for variant in VARIANTS.get(family, [""])]


@pytest.mark.parametrize("family", KERNELS)
def test_its_file_exists(family):
    assert (Path(fastmlp.kernels.__file__).parent / f"{KERNELS[family].file}.py").is_file()


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize(("family", "variant"), NAMES)
def test_its_function_takes_what_the_catalog_says(family, variant, dtype):
    module = importlib.import_module(f"fastmlp.kernels.{KERNELS[family].file}")
    function = module.build(f"{family}.{variant}" if variant else family, dtype)
    names = [argument.partition(":")[0] for argument in KERNELS[family].signature.split()]
    assert list(inspect.signature(function).parameters) == names


def test_every_family_has_a_loader(monkeypatch):
    """Nothing is compiled: what the loaders ask the store for is noted."""
    requests = []
    monkeypatch.setattr(store, "load", lambda *request: requests.append(request))
    for kernel in built_in():
        catalog.load(kernel)
    for family in catalog.SHAPED:  # there is no end to these
        catalog.network(f"{family}.1-1.linear/mse.", "float32")
    families = {name.partition(".")[0] for _, name, _, _ in requests}
    assert families == KERNELS.keys() - {"residual"}, "those are the user's"
    for file, name, signature, dtype in requests:
        assert KERNELS[name.partition(".")[0]] == (file, signature) and dtype in ("float32", "float64")


def test_families_that_python_calls_take_the_same():
    assert {KERNELS[name].signature for name in (*catalog.NETWORK, *catalog.SHAPED)} == {"params job numbers"}
    assert KERNELS["run_epochs"].signature.startswith("params job numbers ")


@pytest.mark.parametrize("signature", ["x:T", "x:T m", "n x:T", "x:T n more"])
def test_the_compiler_refuses_a_function_of_other_arguments(signature):
    def probe(x, n):
        return 0.0

    with pytest.raises(RuntimeError, match=r"probe takes \['x', 'n'\], the catalog says "):
        compiler.compile_kernel("probe", probe, signature, "float32")
    assert compiler.compile_kernel("probe", probe, "x:T n", "float32")
