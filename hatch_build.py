"""Which wheel is built: a platform's, with prebuilt kernels, or the pure one, whose kernels are compiled when used.

FASTMLP_WHEEL names the platform as wheels do (``manylinux_2_17_x86_64``), or is ``any`` for the pure wheel. Without it,
the wheel is this machine's where ``python -m fastmlp.kernels.build`` has left libraries of these very sources, else the
pure one.
"""

from __future__ import annotations

import hashlib
import importlib.util
import json
import os
import tempfile
from pathlib import Path
from types import ModuleType
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

_LIBRARIES = "fastmlp/kernels/libraries"


class Unfit(Exception):
    """Why a wheel cannot bring prebuilt kernels."""


class KernelHook(BuildHookInterface):
    """Adds a platform's libraries, and a manifest of them alone, to a wheel, and names the wheel for that platform."""

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        wanted = os.environ.get("FASTMLP_WHEEL", "")
        manifest = Path(self.root, _LIBRARIES, "manifest.json")
        if version == "editable" or wanted == "any" or not (wanted or manifest.exists()):
            return
        try:
            platform, targets = self._platform(wanted)
            self._add(platform, self._checked(manifest, targets, all_of_them=bool(wanted)), build_data)
        except Unfit as reason:
            words = f"{reason}: build them by python -m fastmlp.kernels.build"
            if wanted:
                raise SystemExit(f"FASTMLP_WHEEL={wanted}: {words}") from None
            self.app.display_warning(f"a wheel without prebuilt kernels: {words}")

    def finalize(self, version: str, build_data: dict[str, Any], artifact_path: str) -> None:
        if hasattr(self, "_folder"):
            self._folder.cleanup()

    def _platform(self, wanted: str) -> tuple[str, list[str]]:
        """The wheel's platform, and the names of its targets."""
        from packaging.tags import platform_tags

        platforms: dict[str, list[str]] = {}
        for name, target in self._module("targets").TARGETS.items():
            platforms.setdefault(target.wheel, []).append(name)
        if wanted and wanted not in platforms:
            raise SystemExit(f"FASTMLP_WHEEL must be any or one of {', '.join(platforms)}, got {wanted!r}")
        platform = wanted or next((tag for tag in platform_tags() if tag in platforms), "")
        if not platform:
            raise Unfit("there are no kernels for this platform")
        return platform, platforms[platform]

    def _checked(self, path: Path, targets: list[str], all_of_them: bool) -> dict[str, Any]:
        """The manifest of these targets' libraries, which are there, whole, and of these sources."""
        if not path.exists():
            raise Unfit(f"there are no kernels in {_LIBRARIES}")
        manifest = json.loads(path.read_text(encoding="utf-8"))
        if manifest["sources"] != self._module("sources").sources_digest(Path(self.root, "fastmlp")):
            raise Unfit(f"the kernels in {_LIBRARIES} are not of these sources")
        there = {name: entry for name, entry in manifest["libraries"].items() if name in targets}
        missing = [name for name in targets if name not in there]
        if not there or (missing and all_of_them):
            raise Unfit(f"{_LIBRARIES} has no {', no '.join(missing)}")
        for name, entry in there.items():
            library = path.with_name(entry["file"])
            if not library.exists() or hashlib.sha256(library.read_bytes()).hexdigest() != entry["sha256"]:
                raise Unfit(f"{entry['file']} is not what was built for {name}")
        return manifest | {"libraries": there}

    def _add(self, platform: str, manifest: dict[str, Any], build_data: dict[str, Any]) -> None:
        self._folder = tempfile.TemporaryDirectory()
        path = Path(self._folder.name, "manifest.json")
        path.write_text(json.dumps(manifest, indent=1), encoding="utf-8")
        files = [path, *(Path(self.root, _LIBRARIES, entry["file"]) for entry in manifest["libraries"].values())]
        build_data["force_include"].update({str(file): f"{_LIBRARIES}/{file.name}" for file in files})
        build_data["pure_python"] = False
        build_data["tag"] = f"py3-none-{platform}"

    def _module(self, name: str) -> ModuleType:
        """A file of the kernels that imports the standard library alone, without the package around it."""
        spec = importlib.util.spec_from_file_location(name, Path(self.root, "fastmlp", "kernels", f"{name}.py"))
        assert spec is not None and spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        return module
