"""The plugins of a process: their hooks, the backends that they declare, and those that are out of service."""

from __future__ import annotations

import logging
import re
from collections.abc import Iterable, Mapping
from difflib import get_close_matches
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

import pluggy
from marshmallow import Schema

from registry import Modality, ModelSpec
from registry.backends import Backends
from router import hookspecs
from router.errors import BootError
from router.plugins.broken import BrokenPlugin, summary
from router.plugins.discovery import name_of, origin
from router.runtime import logs
from router.values import Backend, Job, PartPath

if TYPE_CHECKING:  # an engine has no commands
    import click

NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
MEND = "mend it, or take it out"
REFUSING = ("check_request", "configure_app")
HOOKS = [name for name, hook in vars(hookspecs).items() if hasattr(hook, f"{hookspecs.PROJECT}_spec")]
log = logging.getLogger(__name__)


class _Unfit(Exception):
    """A declaration that is none; `backend` is the name in it, None where it has none."""

    def __init__(self, message: str, backend: str | None = None) -> None:
        super().__init__(message)
        self.backend = backend


class Plugins:
    """Those of `plugins` that fit; the others, and their models, are out of service (`broken`) and harm no other."""

    def __init__(self, plugins: Iterable[object]) -> None:
        self._manager = pluggy.PluginManager(hookspecs.PROJECT)
        self._manager.add_hookspecs(hookspecs)
        self._broken: list[BrokenPlugin] = []
        for plugin in plugins:
            if isinstance(plugin, BrokenPlugin):
                self._broken.append(plugin)
            else:
                self._register(plugin)
        self._owners = self._declared()
        self.backends: Mapping[str, Backend] = MappingProxyType({name: b for name, (b, _) in self._owners.items()})

    @property
    def broken(self) -> tuple[BrokenPlugin, ...]:
        """The plugins that are out of service."""
        return tuple(self._broken)

    @property
    def known(self) -> Backends:
        """What the registry must know: the backends, and which plugins may have brought others."""
        return Backends(self.backends, tuple(plugin.lost for plugin in self._broken))

    @property
    def hook(self) -> pluggy.HookRelay:
        """The hooks that are about no model in particular."""
        return self._manager.hook

    def hook_for(self, name: str, model: ModelSpec) -> pluggy.HookCaller:
        """Return the hook `name` without the other backends: the owner answers, listeners still hear."""
        others = [plugin for backend, (_, plugin) in self._owners.items() if backend != model.backend]
        return self._manager.subset_hook_caller(name, others)

    def configure(self, app: object) -> None:
        """Let every plugin add to the web application; raise `BootError` naming one that fails.

        So it does for one that is out of service and may refuse requests: what it keeps out would come in.
        """
        for broken in self._broken:
            if broken.guards:
                raise BootError(f"{broken}. It may refuse requests, so none are taken without it")
        for one in reversed(self.hook.configure_app.get_hookimpls()):
            try:
                _call(one, app)
            except KeyboardInterrupt:
                raise
            except BaseException as error:
                raise BootError(f"{origin(one.plugin)}: configure_app raised {summary(error)}") from error

    def add_commands(self, cli: click.Group) -> None:
        """Let every plugin add subcommands; what one that fails has added goes, and none replaces another's."""
        from click import Command

        for one in reversed(self.hook.add_commands.get_hookimpls()):
            before = dict(cli.commands)
            try:
                _call(one, cli)
                new = {name: command for name, command in cli.commands.items() if name not in before}
                added = {name: command for name, command in new.items() if isinstance(command, Command)}
            except KeyboardInterrupt:
                raise
            except BaseException as error:
                added = {}
                self._remove(one.plugin, f"add_commands raised {summary(error)}")
            cli.commands.clear()
            cli.commands.update(before | added)

    def announce(self, job: Job) -> None:
        """Log that a job's status has changed, and tell every listener; one that fails is logged."""
        logs.log_change(job)
        for listener in reversed(self.hook.job_changed.get_hookimpls()):
            try:
                _call(listener, job)
            except (Exception, SystemExit):
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
        if self._manager.is_registered(plugin):
            return
        try:
            self._manager.register(plugin)
        except KeyboardInterrupt:
            raise
        except BaseException as error:  # pluggy looks at every attribute of a stranger's object
            said = " ".join(str(error).split()) if isinstance(error, pluggy.PluginValidationError) else summary(error)
            self._remove(plugin, said)
            return
        for caller in self._manager.get_hookcallers(plugin) or ():
            if not caller.has_spec() and not all(one.optionalhook for one in caller.get_hookimpls()):
                said = f"it implements a hook that does not exist: {caller.name}; there are {', '.join(HOOKS)}"
                self._remove(plugin, said, guards=bool(get_close_matches(caller.name, REFUSING)))
                return

    def _declared(self) -> dict[str, tuple[Backend, object]]:
        """Return the backends, each with its plugin; of two of one name the first that was found stays."""
        owners: dict[str, tuple[Backend, object]] = {}
        registered = [plugin for _, plugin in self._manager.list_name_plugin()]
        declarations = self.hook.declare_backend.get_hookimpls()
        for declared in sorted(declarations, key=lambda one: [id(each) for each in registered].index(id(one.plugin))):
            try:
                backend = _fitting(declared.function())
                if backend.name in owners:
                    other = origin(owners[backend.name][1])
                    said = f"two plugins declare the backend {backend.name!r}, this one and {other}, which stays"
                    raise _Unfit(said, backend.name)
            except KeyboardInterrupt:
                raise
            except _Unfit as error:
                self._remove(declared.plugin, str(error), error.backend)
            except BaseException as error:
                self._remove(declared.plugin, f"declare_backend raised {summary(error)}")
            else:
                owners[backend.name] = (backend, declared.plugin)
        return owners

    def _remove(self, plugin: object, reason: str, backend: str | None = None, *, guards: bool = False) -> None:
        """Take a plugin out of service."""
        guards = guards or _may_refuse(plugin)
        if self._manager.is_registered(plugin):
            self._manager.unregister(plugin)
        self._broken.append(BrokenPlugin(name_of(plugin), origin(plugin), reason, MEND, guards, backend))


def _may_refuse(plugin: object) -> bool:
    """Say whether a plugin has a hook that refuses requests.

    A backend's `check_request` hears of its own models only, which are refused without it.
    """
    has = [hook for hook in REFUSING if _has(plugin, hook)]
    return "configure_app" in has or ("check_request" in has and not _has(plugin, "declare_backend"))


def _has(plugin: object, hook: str) -> bool:
    try:
        return getattr(plugin, hook, None) is not None
    except Exception:
        return True


def _fitting(backend: object) -> Backend:
    """Return a declaration; raise `_Unfit` with what it lacks to be a `Backend`."""
    if not isinstance(backend, Backend):
        raise _Unfit(f"declare_backend must return a Backend, got {type(backend).__name__}")
    name, modalities, options, requires = backend.name, backend.modalities, backend.options, backend.requires
    for wrong, said, got in (
        (not isinstance(name, str) or not NAME.fullmatch(name), "name must be letters, digits and ._-", name),
        (not _all(modalities, frozenset, Modality), "modalities must be a frozenset of Modality", modalities),
        (not _is_schema(options), "options must be a class of marshmallow's Schema", options),
        (not _all(requires, tuple, str), "requires must be a tuple of the names of modules", requires),
    ):
        if wrong:
            raise _Unfit(f"its Backend's {said}, got {got!r:.100}", str(name))
    return backend


def _all(values: object, kind: type, of: type) -> bool:
    return isinstance(values, frozenset | tuple) and isinstance(values, kind) and all(isinstance(v, of) for v in values)


def _is_schema(options: object) -> bool:
    return options is None or (isinstance(options, type) and issubclass(options, Schema))


def _call(implementation: pluggy.HookImpl, argument: object) -> None:
    """Call one implementation of a hook of one argument, which it may have left out."""
    implementation.function(*([argument] if implementation.argnames else []))
