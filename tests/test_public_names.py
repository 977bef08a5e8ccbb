"""What the package offers is what the reference describes, name by name: neither has one more."""

from __future__ import annotations

import inspect
import pkgutil
import re
import zlib
from functools import cached_property
from inspect import isclass, ismodule, isroutine, signature
from pkgutil import resolve_name

import pytest

import fastmlp

ROOMS = ("__main__", "base", "cli", "engine", "kernels", "model")  # machinery that nobody imports by name
MODULES = ["fastmlp", *(f"fastmlp.{m.name}" for m in pkgutil.iter_modules(fastmlp.__path__) if m.name not in ROOMS)]

FORMULAS = ("fastmlp.activations", "fastmlp.losses")  # whose classes are made by registries
DESCRIBED = [module for module in MODULES[1:] if module not in FORMULAS]
NETWORKS = (fastmlp.MLP, fastmlp.Ensemble)


@pytest.fixture(scope="module")
def places(site):
    """Where on the site each object can be linked to, by its name; "$" ends the place of a heading with that name.
    Parameters, ``fastmlp.train(lr)``, can be linked to as well, but are no objects."""
    _, _, _, _, packed = (site / "objects.inv").read_bytes().split(b"\n", 4)
    fields = [line.split() for line in zlib.decompress(packed).decode().splitlines()]
    return {name: place for name, _, _, place, _ in fields if "(" not in name}


@pytest.mark.parametrize("module", MODULES)
def test_public_names_are_in_the_reference(module, places):
    assert resolve_name(module).__all__
    assert [name for name in resolve_name(module).__all__ if f"{module}.{name}" not in places] == []


@pytest.mark.parametrize("module", MODULES)
def test_public_names_exist_and_have_docstrings(module):
    public = {module: resolve_name(module)}
    public |= {name: getattr(public[module], name) for name in public[module].__all__}
    assert [name for name, value in public.items() if not value.__doc__] == []


@pytest.mark.parametrize("module", sorted({*MODULES} - {"fastmlp.interop"}))  # which has functions alone
def test_public_members_are_in_the_reference(module, places):
    """Those that a class inherits from another of the library's, too; what its own docstring lists is there."""
    members = []
    for cls in filter(isclass, (getattr(resolve_name(module), name) for name in resolve_name(module).__all__)):
        ours = [vars(base) for base in cls.__mro__ if base.__module__.startswith("fastmlp.")]
        for name, value in ((name, getattr(cls, name)) for namespace in ours for name in namespace):
            described = value.__doc__ and (isroutine(value) or isinstance(value, (property, cached_property)))
            theirs = getattr(value, "__module__", "").startswith("sklearn.")  # set_fit_request and the like
            if described and not theirs and not name.startswith("_") and f"\n    {name} : " not in cls.__doc__:
                members.append(f"{module}.{cls.__name__}.{name}")
    kernels_own = re.compile(r"fastmlp\.optimizers\.\w+\.(states|constants)")
    assert [name for name in members if name not in places and not kernels_own.fullmatch(name)] == []


def test_the_reference_describes_public_names_only(places):
    names = {name for name, place in places.items() if place.endswith("$") and not ismodule(resolve_name(name))}
    parents = {name: resolve_name(name.rpartition(".")[0]) for name in names}
    names = {name for name in names if ismodule(parents[name])}
    assert {"fastmlp.train", "fastmlp.tables.Schema", "fastmlp.interop.onnx.to_onnx"} <= names
    assert sorted(name for name in names if name.rpartition(".")[2] not in parents[name].__all__) == []


def test_all_that_the_reference_names_exists(places):
    for name in places:
        resolve_name(name)


def described(function) -> set[str]:
    """The parameters that have an entry in the docstring's list."""
    entries = re.findall(r"^([\w*, ]+?)(?: : .*)?\n {4}\S", inspect.getdoc(function) or "", re.MULTILINE)
    return {name.strip(" *") for entry in entries for name in entry.split(",")}


def test_parameters_are_described():
    """Those of public functions, and of classes and methods in most modules, unless the docstring sends elsewhere."""
    values = [getattr(module, name) for module in (fastmlp, *map(resolve_name, DESCRIBED)) for name in module.__all__]
    classes = [cls for cls in filter(isclass, values) if cls.__module__.startswith(tuple(DESCRIBED)) or cls in NETWORKS]
    methods = [getattr(cls, name) for cls in classes for name in dir(cls) if not name.startswith("_")]
    ours = [value for value in [*values, *methods] if str(getattr(value, "__module__", "")).startswith("fastmlp.")]
    routines = [value for value in ours if isroutine(value) and value.__module__ not in FORMULAS]
    missing = {
        f"{value.__qualname__}({parameter})"
        for value in [*classes, *filter(inspect.getdoc, routines)]
        if "Parameters, errors and warnings are those of" not in value.__doc__
        for parameter in {*signature(value).parameters} - {"self", "unknown", "args", "settings"} - described(value)
    }
    assert len(routines) > 100
    assert sorted(missing) == []
