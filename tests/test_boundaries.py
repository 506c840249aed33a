"""The import rules: the floors of rooms, and the libraries of each half."""

import ast
import os
import subprocess
import sys
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
HEAVY = {"torch", "diffusers", "transformers", "onnxruntime", "av"}

# The rooms, lowest first: each may import what is below it. Rooms of one floor do not import each other.
FLOORS = (
    ("registry",),
    ("nano", "router.errors"),
    ("router.values",),
    ("router.hookspecs", "router.request", "router.runtime"),
    ("router.accounting",),
    ("router.auth", "router.media", "router.plugins", "router.tokens"),
    ("router",),
    ("router.settings", "router.storage"),
    ("router.jobs",),
    ("router.catalog", "router.metrics"),
    ("router.system",),
    ("router.intake",),
    ("router.web", "router.engine", "plugins"),
    ("router.fleet", "router.deploy", "router.testing"),
    ("router.doctor",),
    ("router.cli", "wsgi"),
)
FLOOR = {room: floor for floor, rooms in enumerate(FLOORS) for room in rooms}


def room(module: str) -> str | None:
    """Return the room of one of our modules, None for a foreign module."""
    parts = module.split(".")
    if parts[0] == "router" and len(parts) > 1:
        return ".".join(parts[:2])
    return parts[0] if parts[0] in FLOOR else None


@cache
def modules() -> list[tuple[str, Path]]:
    files = [path for top in ("registry", "router", "plugins", "nano") for path in (ROOT / top).rglob("*.py")]
    found = [(".".join(path.relative_to(ROOT).with_suffix("").parts), path) for path in [*files, ROOT / "wsgi.py"]]
    return [(name.removesuffix(".__init__"), path) for name, path in found if "migrations.versions" not in name]


@cache
def parsed(path: Path) -> ast.Module:
    return ast.parse(path.read_text())


def imports(path: Path, *, at_boot: bool = False) -> set[str]:
    """Return every module that a file imports.

    With `at_boot` only those outside functions and type checking.
    """
    tree = parsed(path)
    ours = dict(modules())
    found: set[str] = set()
    for node in tree.body if at_boot else ast.walk(tree):
        if isinstance(node, ast.Import):
            found.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            names = {f"{node.module}.{alias.name}" for alias in node.names}
            found.update(name if name in ours else node.module for name in names)
    return found


def offences(name: str, path: Path) -> set[str]:
    """Return the modules that `name` imports against the rules."""
    here = room(name)
    ours = {module: there for module in imports(path) if (there := room(module)) not in (None, here)}
    if here == "plugins":  # a plugin knows the public words, and what a Modality is
        siblings = {module for module in imports(path) if _is_sibling(name, module)}
        return siblings | {module for module, there in ours.items() if there not in {"router", "registry"}}
    return {module for module, there in ours.items() if FLOOR.get(there, 0) >= FLOOR[here]}


def _is_sibling(name: str, module: str) -> bool:
    """Say whether `module` is in another plugin, not in the plugins' shared package."""
    own, other = (each.split(".")[1:2] for each in (name, module))
    return module.split(".")[0] == "plugins" and other not in (own, ["wan"])


def test_no_wall_is_crossed() -> None:
    homeless = {name for name, _ in modules() if room(name) not in FLOOR}
    assert homeless == set(), "a new room needs a floor"

    crossed = {name: found for name, path in modules() if (found := offences(name, path))}
    assert crossed == {}


def test_heavy_libraries_are_imported_inside_functions_only() -> None:
    # these modules are themselves imported inside functions
    light = [
        module
        for module in modules()
        if not module[0].startswith(("plugins.diffusers_backend.", "plugins.onnx_backend.", "plugins.wan.", "nano."))
    ]
    heavy = {
        name: found
        for name, path in light
        if (found := {module for module in imports(path, at_boot=True) if module.split(".")[0] in HEAVY})
    }

    assert heavy == {}


@pytest.mark.slow
def test_the_web_half_and_the_supervisor_load_nothing_heavy(tmp_path: Path) -> None:
    code = "import sys, wsgi, router.fleet, router.cli; print(sorted({m.split('.')[0] for m in sys.modules}))"
    environ = {**os.environ, "FRAMEGATE_NO_AUTH": "1", "FRAMEGATE_DATA": str(tmp_path)}
    run = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, env=environ, capture_output=True, text=True, check=True
    )
    loaded = run.stdout

    assert {module for module in {*HEAVY, "numpy", "cv2", "PIL"} if repr(module) in loaded} == set()


@pytest.mark.slow
def test_the_engine_half_loads_no_flask() -> None:
    code = "import sys, router.engine.__main__; print('flask' in sys.modules, 'werkzeug' in sys.modules)"
    loaded = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True).stdout

    assert loaded.strip() == "False False"
