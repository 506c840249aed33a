"""Find the plugins, know which backend each model belongs to, and ask the right ones."""

from __future__ import annotations

import hashlib
import importlib
import importlib.util
import inspect
import logging
import pkgutil
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import partial
from importlib.metadata import entry_points
from pathlib import Path
from types import MappingProxyType, ModuleType
from typing import Any

import pluggy

from registry import ModelSpec
from router import hookspecs, logs
from router.errors import BootError
from router.values import Backend, Job, PartPath

log = logging.getLogger(__name__)


class Plugins:
    """The plugins of this process: hooks, and the backends that they declare."""

    def __init__(self, plugins: Iterable[object]) -> None:
        self._manager = pluggy.PluginManager(hookspecs.PROJECT)
        self._manager.add_hookspecs(hookspecs)
        for plugin in plugins:
            self._register(plugin)
        try:
            self._manager.check_pending()
        except pluggy.PluginValidationError as error:
            raise BootError(f"a plugin implements a hook that does not exist: {error}") from error
        self._owners = self._declared()
        self.backends: Mapping[str, Backend] = MappingProxyType({name: b for name, (b, _) in self._owners.items()})

    @property
    def hook(self) -> pluggy.HookRelay:
        """The hooks that are about no model in particular."""
        return self._manager.hook

    def hook_for(self, name: str, model: ModelSpec) -> pluggy.HookCaller:
        """Return the hook `name` without the other backends: the owner answers, listeners still hear."""
        others = [plugin for backend, (_, plugin) in self._owners.items() if backend != model.backend]
        return self._manager.subset_hook_caller(name, others)

    def configure(self, app: object) -> None:
        """Let every plugin add to the web application; raise `BootError` naming one that fails."""
        for one in self.hook.configure_app.get_hookimpls():
            _guarded(one.plugin, "configure_app", partial(_call, one, app))

    def announce(self, job: Job) -> None:
        """Log that a job's status has changed, and tell every listener; one that fails is logged."""
        logs.tell(job)
        for listener in self.hook.job_changed.get_hookimpls():
            try:
                _call(listener, job)
            except Exception:
                log.exception("the plugin %s failed to hear of job %s", listener.plugin_name, job.id)

    def describe(self, model: ModelSpec, loaded: Any) -> Mapping[str, PartPath]:
        """Return by which code the parts of a loaded model run; none where its backend says nothing, or fails."""
        try:
            said = self.hook_for("describe_loaded", model)(model=model, loaded=loaded) or {}
            return {str(part): PartPath(str(each.path), str(each.reason)) for part, each in said.items()}
        except Exception:
            log.exception("the backend %s failed to describe %s", model.backend, model.name)
            return {}

    def _register(self, plugin: object) -> None:
        try:
            self._manager.register(plugin)
        except pluggy.PluginValidationError as error:
            raise BootError(f"{_origin(plugin)}: {error}") from error

    def _declared(self) -> dict[str, tuple[Backend, object]]:
        owners: dict[str, tuple[Backend, object]] = {}
        for declaration in self.hook.declare_backend.get_hookimpls():
            backend = _guarded(declaration.plugin, "declare_backend", declaration.function)
            if not isinstance(backend, Backend):
                got = type(backend).__name__
                raise BootError(f"{_origin(declaration.plugin)}: declare_backend must return a Backend, got {got}")
            if backend.name in owners:
                places = f"{_origin(owners[backend.name][1])} and {_origin(declaration.plugin)}"
                raise BootError(f"two plugins declare the backend {backend.name!r}: {places}")
            owners[backend.name] = (backend, declaration.plugin)
        return owners


def find(folders: Iterable[Path]) -> tuple[object, ...]:
    """Return each plugin once: the `plugins` package, installed packages, and the user's files or folders."""
    found: dict[object, object] = {}
    for plugin in (*_packaged(), *_installed(), *_own(folders)):
        found.setdefault(_origin(plugin), plugin)
    return tuple(found.values())


def missing(backend: Backend) -> tuple[str, ...]:
    """Return the modules that `backend` needs and this Python lacks."""
    return tuple(module for module in backend.requires if importlib.util.find_spec(module) is None)


def wanted(backend: Backend) -> str:
    """Say what `backend` needs and lacks, and the command that brings it."""
    advice = f": pip install 'framegate[{backend.extra}]'" if backend.extra else ""
    return f"the backend {backend.name} needs {', '.join(missing(backend))}{advice}"


def _packaged() -> Iterator[ModuleType]:
    package = importlib.import_module("plugins")
    for module in pkgutil.iter_modules(package.__path__, "plugins."):
        yield importlib.import_module(module.name)


def _installed() -> Iterator[object]:
    for entry in entry_points(group=hookspecs.PROJECT):
        try:
            yield entry.load()
        except ImportError as error:
            raise BootError(f"the installed plugin {entry.name} ({entry.value}) cannot be imported: {error}") from error


def _own(places: Iterable[Path]) -> Iterator[ModuleType]:
    for place in places:
        if not place.exists():
            raise BootError(f"{place}: a plugin must be a Python file or a folder of them, got nothing there")
        for path in sorted(place.glob("*.py")) if place.is_dir() else [place]:
            yield _import_file(path)


def _import_file(path: Path) -> ModuleType:
    """Import a file once in a process, under a name that no other file has."""
    name = f"framegate_plugin_{path.stem}_{hashlib.sha256(str(path.resolve()).encode()).hexdigest()[:8]}"
    if name in sys.modules:
        return sys.modules[name]
    spec = importlib.util.spec_from_file_location(name, path)
    if spec is None or spec.loader is None:
        raise BootError(f"{path}: a plugin must be a Python file (.py)")
    module = sys.modules[name] = importlib.util.module_from_spec(spec)
    try:
        spec.loader.exec_module(module)
    except (Exception, SystemExit) as error:  # a stranger's file may raise anything; the boot ends either way
        del sys.modules[name]
        raise BootError(f"{path}: the plugin cannot be imported: {type(error).__name__}: {error}") from error
    return module


def _call(implementation: pluggy.HookImpl, argument: object) -> None:
    """Call one implementation of a hook of one argument, which it may have left out."""
    implementation.function(*([argument] if implementation.argnames else []))


def _guarded(plugin: object, hook: str, call: Callable[[], object]) -> object:
    """Run a hook at boot: whatever it raises ends the boot with its name."""
    try:
        return call()
    except Exception as error:
        raise BootError(f"{_origin(plugin)}: {hook} raised {type(error).__name__}: {error}") from error


def _origin(plugin: object) -> str:
    """Return where a plugin comes from: its file's real path, else its name."""
    file = getattr(plugin, "__file__", None) if inspect.ismodule(plugin) else None
    return str(Path(file).resolve()) if file else repr(plugin)
