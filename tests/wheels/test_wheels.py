"""Wheels and the sdist as pip has them built (hatch_build.py), with libraries that hold nothing but their names."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
import sys
import tarfile
from pathlib import Path
from zipfile import ZipFile

import pytest
from packaging.tags import platform_tags

from fastmlp.kernels.sources import sources_digest
from fastmlp.kernels.targets import TARGETS

ROOT = Path(__file__).parents[2]
PLATFORMS = {
    "manylinux_2_17_x86_64": {"linux-x86-64-v2.so", "linux-x86-64-v3.so", "linux-x86-64-v4.so"},
    "manylinux_2_17_aarch64": {"linux-aarch64.so"},
    "macosx_11_0_arm64": {"macos-arm64.dylib"},
    "win_amd64": {"windows-x86-64-v3.dll", "windows-x86-64-v4.dll"},
}
HOST = next((tag for tag in platform_tags() if tag in PLATFORMS), "any")
BUILD = """
import sys
sys.modules["numpy"] = sys.modules["numba"] = None  # as where pip builds
import hatchling.build
print(getattr(hatchling.build, f"build_{sys.argv[1]}")(sys.argv[2]))
"""


@pytest.fixture
def checkout(tmp_path):
    """A copy of what wheels are built of, without libraries."""
    root = tmp_path / "checkout"
    ignored = shutil.ignore_patterns("__pycache__", "libraries")
    shutil.copytree(ROOT / "fastmlp", root / "fastmlp", ignore=ignored)
    for name in ("pyproject.toml", "hatch_build.py", "README.md", "LICENSE", ".gitignore"):
        shutil.copy(ROOT / name, root)
    return root


@pytest.fixture
def built(checkout):
    """A checkout with a library for each target, and the manifest of them."""
    folder = checkout / "fastmlp" / "kernels" / "libraries"
    folder.mkdir()
    entries = {}
    for name, target in TARGETS.items():
        (folder / f"{name}{target.suffix}").write_text(name)
        entries[name] = {"file": f"{name}{target.suffix}", "sha256": hashlib.sha256(name.encode()).hexdigest()}
    manifest = {"version": "0", "sources": sources_digest(checkout / "fastmlp"), "libraries": entries}
    (folder / "manifest.json").write_text(json.dumps(manifest))
    return checkout


def run(root: Path, kind: str, platform: str) -> subprocess.CompletedProcess[str]:
    environment = {name: value for name, value in os.environ.items() if name != "FASTMLP_WHEEL"}
    if platform:
        environment["FASTMLP_WHEEL"] = platform
    command = [sys.executable, "-c", BUILD, kind, str(root / "dist")]
    return subprocess.run(command, cwd=root, env=environment, capture_output=True, text=True, check=False)


def build(root: Path, kind: str = "wheel", platform: str = "") -> Path:
    done = run(root, kind, platform)
    assert done.returncode == 0, done.stderr
    return root / "dist" / done.stdout.splitlines()[-1]


def libraries(wheel: Path) -> set[str]:
    with ZipFile(wheel) as file:
        folder = "fastmlp/kernels/libraries/"
        return {name.removeprefix(folder) for name in file.namelist() if name.startswith(folder)}


def platform_of(wheel: Path) -> str:
    return wheel.stem.partition("py3-none-")[2]


def test_without_libraries_the_wheel_is_pure(checkout):
    wheel = build(checkout)
    assert (platform_of(wheel), libraries(wheel)) == ("any", set())
    with ZipFile(wheel) as file:
        assert "fastmlp/kernels/targets.py" in file.namelist()
        assert "hatch_build.py" not in file.namelist()


@pytest.mark.parametrize("platform", PLATFORMS)
def test_a_platform_s_wheel_has_its_libraries_alone(built, platform):
    assert {target.wheel for target in TARGETS.values()} == set(PLATFORMS)
    wheel = build(built, platform=platform)
    assert platform_of(wheel) == platform
    assert libraries(wheel) == {"manifest.json", *PLATFORMS[platform]}
    with ZipFile(wheel) as file:
        manifest = json.loads(file.read("fastmlp/kernels/libraries/manifest.json"))
        about = file.read(next(name for name in file.namelist() if name.endswith(".dist-info/WHEEL"))).decode()
    assert {entry["file"] for entry in manifest["libraries"].values()} == PLATFORMS[platform]
    whole = json.loads((built / "fastmlp" / "kernels" / "libraries" / "manifest.json").read_text())
    assert manifest["libraries"].items() <= whole.pop("libraries").items()
    assert manifest.items() >= whole.items()
    assert f"Root-Is-Purelib: false\nTag: py3-none-{platform}\n" in about


def test_without_the_variable_the_wheel_is_this_machine_s(built):
    wheel = build(built)
    assert platform_of(wheel) == HOST
    assert libraries(wheel) == ({"manifest.json", *PLATFORMS[HOST]} if HOST in PLATFORMS else set())
    assert platform_of(build(built, platform="any")) == "any"


def edit_a_source(libraries: Path) -> None:
    with open(libraries.parents[1] / "activations.py", "a") as file:
        file.write("\n")


def flip_a_bit(libraries: Path) -> None:
    (libraries / "linux-x86-64-v3.so").write_text("linux-x86-64-v2")


def remove_one(libraries: Path) -> None:
    (libraries / "linux-x86-64-v3.so").unlink()


def forget_one(libraries: Path) -> None:
    path = libraries / "manifest.json"
    manifest = json.loads(path.read_text())
    del manifest["libraries"]["linux-x86-64-v3"]
    path.write_text(json.dumps(manifest))


@pytest.mark.parametrize(
    ("spoil", "why"),
    [
        (shutil.rmtree, "there are no kernels in fastmlp/kernels/libraries"),
        (edit_a_source, "the kernels in fastmlp/kernels/libraries are not of these sources"),
        (flip_a_bit, "linux-x86-64-v3.so is not what was built for linux-x86-64-v3"),
        (remove_one, "linux-x86-64-v3.so is not what was built for linux-x86-64-v3"),
        (forget_one, "fastmlp/kernels/libraries has no linux-x86-64-v3"),
    ],
)
def test_what_does_not_fit_is_refused(built, spoil, why):
    spoil(built / "fastmlp" / "kernels" / "libraries")
    done = run(built, "wheel", "manylinux_2_17_x86_64")
    assert done.returncode != 0
    words = f"FASTMLP_WHEEL=manylinux_2_17_x86_64: {why}: build them by python -m fastmlp.kernels.build"
    assert words in done.stderr.splitlines()


def test_libraries_of_other_sources_stay_out_of_this_machine_s_wheel(built):
    edit_a_source(built / "fastmlp" / "kernels" / "libraries")
    wheel = build(built)
    assert (platform_of(wheel), libraries(wheel)) == ("any", set())


def test_unknown_platforms_are_refused(built):
    done = run(built, "wheel", "linux")
    assert done.returncode != 0
    assert "FASTMLP_WHEEL must be any or one of manylinux_2_17_x86_64, " in done.stderr


def test_an_sdist_has_no_libraries_and_builds_wheels(built, tmp_path):
    sdist = build(built, "sdist", "win_amd64")
    with tarfile.open(sdist) as file:
        assert not [name for name in file.getnames() if "libraries" in name]
        file.extraction_filter = getattr(tarfile, "data_filter", None)  # new in Python 3.11.4
        file.extractall(tmp_path)
    root = tmp_path / sdist.name.removesuffix(".tar.gz")
    assert platform_of(build(root)) == "any"
    shutil.copytree(built / "fastmlp" / "kernels" / "libraries", root / "fastmlp" / "kernels" / "libraries")
    assert libraries(build(root, platform="win_amd64")) == {"manifest.json", *PLATFORMS["win_amd64"]}


def test_editable_installs_have_no_libraries(built, monkeypatch):
    from hatchling.builders.wheel import WheelBuilder

    monkeypatch.setenv("FASTMLP_WHEEL", "win_amd64")
    (hook,) = WheelBuilder(str(built)).get_build_hooks(str(built / "dist")).values()
    data = {"force_include": {}}
    hook.initialize("editable", data)
    assert data == {"force_include": {}}
    hook.initialize("standard", data)
    assert data["tag"] == "py3-none-win_amd64"
    hook.finalize("standard", data, "")
