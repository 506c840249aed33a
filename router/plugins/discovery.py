"""Discovery of plugins: the `plugins` package, installed packages, the user's files and folders.

A module that raises while it is imported, be it `SystemExit`, becomes a `BrokenPlugin`. One that calls `os._exit`, or
never returns, ends or stops its process.
"""

import hashlib
import importlib
import inspect
import pkgutil
import sys
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from importlib.machinery import PathFinder
from importlib.metadata import EntryPoint, PackageNotFoundError, entry_points
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from types import ModuleType

from router import hookspecs
from router.plugins.broken import BrokenPlugin, guards, summary

MOST_SOURCES = 200  # files of a package, searched for hooks
OUT = "mend it, or take it out of --plugin or FRAMEGATE_PLUGINS"


def find(folders: Iterable[Path]) -> tuple[object, ...]:
    """Return each plugin once; those that cannot be loaded are `BrokenPlugin`s."""
    found: dict[object, object] = {}
    for plugin in (*_packaged(), *_installed(), *_own(folders)):
        found.setdefault(origin(plugin), plugin)
    return tuple(found.values())


def origin(plugin: object) -> str:
    """Return the real path of a plugin's file, else its name."""
    if isinstance(plugin, BrokenPlugin):
        return plugin.origin
    file = getattr(plugin, "__file__", None) if inspect.ismodule(plugin) else None
    return str(Path(file).resolve()) if file else repr(plugin)


def name_of(plugin: object) -> str:
    """Return a plugin's name without a path, for callers."""
    if inspect.ismodule(plugin) and getattr(plugin, "__file__", None):
        return Path(str(plugin.__file__)).stem
    return type(plugin).__name__


def _packaged() -> Iterator[object]:
    package = importlib.import_module("plugins")
    for module in pkgutil.iter_modules(package.__path__, "plugins."):
        broken = partial(BrokenPlugin, module.name, module.name, advice="install framegate again", guards=False)
        plugin = _loaded(partial(importlib.import_module, module.name), broken)
        if isinstance(plugin, BrokenPlugin) or _has_hooks(plugin):
            yield plugin


def _has_hooks(module: object) -> bool:
    """Say whether a module implements a hook; a package that plugins share does not."""
    return any(hasattr(value, f"{hookspecs.PROJECT}_impl") for value in vars(module).values())


def _installed() -> Iterator[object]:
    for entry in entry_points(group=hookspecs.PROJECT):
        package, advice = _package(entry)
        where = f"{entry.name} of {package}"
        broken = partial(BrokenPlugin, entry.name, where, advice=advice, guards=guards(_sources(entry)))
        yield _loaded(entry.load, broken)


def _own(paths: Iterable[Path]) -> Iterator[object]:
    for path in paths:
        try:
            files = sorted(path.glob("*.py")) if path.is_dir() else [path]
            is_here = path.exists()
        except OSError:
            files, is_here = [], False
        if not is_here:
            # its hooks are unknown, so it may have refused requests
            reason = "a plugin must be a Python file or a folder of them, got nothing there"
            yield BrokenPlugin(path.stem, str(path), reason, OUT, guards=True)
            continue
        for file in files:
            broken = partial(BrokenPlugin, file.stem, str(file.resolve()), advice=OUT, guards=guards([file]))
            yield _loaded(partial(_import_file, file), broken)


def _loaded(load: Callable[[], object], broken: Callable[..., BrokenPlugin]) -> object:
    try:
        return load()
    except KeyboardInterrupt:
        raise
    except BaseException as error:  # a stranger's code: its SystemExit must not end a server
        return broken(reason=f"it cannot be imported: {summary(error)}")


def _import_file(path: Path) -> ModuleType:
    """Import a file once in a process, under a unique name."""
    name = f"framegate_plugin_{path.stem}_{hashlib.sha256(str(path.resolve()).encode()).hexdigest()[:8]}"
    if name in sys.modules:
        return sys.modules[name]
    spec = spec_from_file_location(name, path)
    if spec is None or spec.loader is None:
        raise ImportError("a plugin must be a Python file (.py)")
    module = sys.modules[name] = module_from_spec(spec)
    try:
        spec.loader.exec_module(module)
    except BaseException:
        sys.modules.pop(name, None)
        raise
    return module


def _package(entry: EntryPoint) -> tuple[str, str]:
    """Return the package of an entry point, and advice for a broken one."""
    try:
        name, version = (entry.dist.name, entry.dist.version) if entry.dist else ("", "")
    except (PackageNotFoundError, KeyError, OSError):
        name, version = "", ""
    if not name:
        return f"an installed package ({entry.value})", f"upgrade or uninstall the package that brings {entry.value}"
    advice = f"'pip install -U {name}' may mend it, 'pip uninstall {name}' takes it out"
    return f"the package {name} {version} ({entry.value})", advice


def _sources(entry: EntryPoint) -> Iterator[Path]:
    """Yield the Python files of an entry point, without an import."""
    files = entry.dist.files if entry.dist else None
    paths = [Path(str(file.locate())) for file in files or () if file.suffix == ".py"]
    spec = PathFinder.find_spec(entry.module.partition(".")[0])
    if not paths and spec and spec.submodule_search_locations:
        paths = [path for folder in spec.submodule_search_locations for path in sorted(Path(folder).rglob("*.py"))]
    elif not paths and spec and spec.origin:
        paths = [Path(spec.origin)]
    yield from paths[:MOST_SOURCES]
