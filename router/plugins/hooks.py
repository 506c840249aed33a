"""The plugins of a process: their hooks and backends, and broken ones."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from difflib import get_close_matches
from functools import partial
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

import pluggy

from registry import ModelSpec
from registry.backends import Backends
from router import hookspecs
from router.errors import BootError
from router.plugins import answers, guard, web_paths
from router.plugins.broken import BrokenPlugin, summary
from router.plugins.declaration import InvalidDeclaration, validated
from router.plugins.discovery import name_of, origin
from router.plugins.guard import Failure
from router.plugins.inspection import HOOKS, REFUSING, may_refuse, unmarked
from router.runtime import logs
from router.values import Backend, Job, Numerics, Panel, PartPath, Plan, PlannedPart, Task

if TYPE_CHECKING:  # an engine has no commands
    import click

MEND = "mend it, or take it out"
LISTENERS = ("job_changed", "unload_model", "configure_app", "add_commands")  # one that raises must not stop others
log = logging.getLogger(__name__)


class Plugins:
    """The plugins of a process, called by pluggy.

    One that does not fit is out of service with its models (`broken`); all others work.
    """

    def __init__(self, plugins: Iterable[object]) -> None:
        self._manager = pluggy.PluginManager(hookspecs.PROJECT)
        self._manager.add_hookspecs(hookspecs)
        self.hook = self._manager.hook  # the hooks without a model
        self._broken: list[BrokenPlugin] = []
        self._commands: dict[str, object] = {}  # the plugin that added each
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
        """The backends, and the plugins that may have declared others, for the registry."""
        return Backends(self.backends, tuple(plugin.lost for plugin in self._broken))

    def hook_for(self, name: str, model: ModelSpec) -> pluggy.HookCaller:
        """Return the hook `name` without the other backends: the owner answers, listeners still hear."""
        others = [plugin for backend, (_, plugin) in self._owners.items() if backend != model.backend]
        return self._manager.subset_hook_caller(name, others)

    def configure(self, app: object) -> None:
        """Let every plugin add to the web application.

        Raises `BootError` for a plugin that fails, or that is out of service and may refuse requests.
        """
        for broken in self._broken:
            if broken.guards:  # what it keeps out would come in
                raise BootError(f"{broken}. It may refuse requests, so none are taken without it")
        # noted instead of raised, as a wrapper of another plugin could swallow it
        for failure in guard.call(self.hook.configure_app, app=app):
            raise BootError(f"{origin(failure.plugin)}: {failure}") from failure.error

    def open_paths(self) -> Mapping[str, str]:
        """Return the paths that plugins open, each with its plugin; raise `BootError`."""
        return web_paths.open_paths(answers.at_boot(self._manager, "open_paths", web_paths.listed))

    def panels(self) -> Mapping[Panel, str]:
        """Return the panels of the studio, each with its plugin; raise `BootError`."""
        return web_paths.panels(answers.at_boot(self._manager, "studio_panel"))

    def add_commands(self, cli: click.Group) -> None:
        """Let every plugin add subcommands; those of a failing plugin are removed."""
        for failure in guard.call(self.hook.add_commands, cli=cli):
            for name in [name for name, plugin in self._commands.items() if plugin is failure.plugin]:
                del cli.commands[name], self._commands[name]
            if self._manager.is_registered(failure.plugin):  # both halves of a wrapper may fail
                self._remove(failure.plugin, str(failure))

    def announce(self, job: Job) -> None:
        """Log a job's change of status, and call its listeners."""
        logs.log_change(job)
        with logs.about(job):
            for failure in guard.call(self.hook.job_changed, job=job):
                _log(failure, "failed to hear of job %s", job.id)

    def unload(self, model: ModelSpec, loaded: Any, *, gone: bool) -> tuple[Failure, ...]:
        """Let the backend free a model; return the failures, which are logged."""
        failures = guard.call(self.hook_for("unload_model", model), model=model, loaded=loaded, gone=gone)
        for failure in failures:
            _log(failure, "failed to unload %s, which counts as gone", model.name)
        return failures

    def plan(self, model: ModelSpec, device: str) -> Plan | None:
        """Return the plan of a model on `device`, None if it is unknown."""
        try:
            found: Plan | int | None = self.hook_for("plan_model", model)(model=model, device=device)
            return found if found is None or isinstance(found, Plan) else Plan((PlannedPart("weights", int(found)),))
        except (Exception, SystemExit):  # a model without a plan may fit
            if model.folder is not None:  # without one a backend has nothing to read
                log.exception("the backend %s failed to plan %s", model.backend, model.name)
            return None

    def describe(self, model: ModelSpec, loaded: Any) -> Mapping[str, PartPath]:
        """Return the code path of each part of a loaded model; none on failure."""
        try:
            paths = self.hook_for("describe_loaded", model)(model=model, loaded=loaded) or {}
            return {str(part): PartPath(str(each.path), str(each.reason)) for part, each in paths.items()}
        except Exception:
            log.exception("the backend %s failed to describe %s", model.backend, model.name)
            return {}

    def numerics(self, model: ModelSpec, task: Task) -> Numerics:
        """Return what the numbers of `task` depend on; by the declaration on failure."""
        try:
            found = self.hook_for("describe_numerics", model)(model=model, task=task)
            if found is not None:
                lossy, may_vary_with = (tuple(map(str, names)) for names in (found.lossy, found.may_vary_with))
                return Numerics(bool(found.reproducible), lossy, may_vary_with)
        except Exception:
            log.exception("the backend %s failed to describe the numbers of a job of %s", model.backend, model.name)
        lossy = tuple(f"adapter {used.name}" for used in task.adapters)
        return Numerics(self.backends[model.backend].deterministic, lossy)

    def _register(self, plugin: object) -> None:
        if self._manager.is_registered(plugin):
            return
        try:
            hash(plugin)  # pluggy keeps plugins in sets
            self._manager.register(plugin)
        except KeyboardInterrupt:
            raise
        except BaseException as error:  # pluggy looks at every attribute of a stranger's object
            is_refused = isinstance(error, pluggy.PluginValidationError)
            self._remove(plugin, " ".join(str(error).split()) if is_refused else summary(error))
            return
        if names := unmarked(plugin):
            self._remove(plugin, f"{', '.join(names)} must be marked with @hookimpl")
            return
        for caller in self._manager.get_hookcallers(plugin) or ():
            if not caller.has_spec() and not all(one.optionalhook for one in caller.get_hookimpls()):
                reason = f"it implements a hook that does not exist: {caller.name}; there are {', '.join(HOOKS)}"
                self._remove(plugin, reason, guards=bool(get_close_matches(caller.name, REFUSING)))
                return
        self._guard(plugin)

    def _guard(self, plugin: object) -> None:
        for name in LISTENERS:
            for one in getattr(self.hook, name).get_hookimpls():
                if one.plugin is not plugin:
                    continue
                if name == "add_commands":
                    guard.install(one, name, partial(self._additions, plugin))
                else:
                    guard.install(one, name)

    @contextmanager
    def _additions(self, plugin: object, arguments: Mapping[str, Any]) -> Iterator[None]:
        """Allow the block to add commands to `cli`, and to replace or remove none."""
        from click import Command

        cli = arguments.get("cli")
        before = dict(cli.commands) if cli is not None else {}
        try:
            yield
        finally:
            if cli is not None:
                now = cli.commands if isinstance(cli.commands, Mapping) else {}
                added = {name: one for name, one in now.items() if name not in before and isinstance(one, Command)}
                self._commands.update(dict.fromkeys(added, plugin))
                cli.commands = before | added

    def _declared(self) -> dict[str, tuple[Backend, object]]:
        """Return the backends, each with its plugin; of one name the first stays."""
        owners: dict[str, tuple[Backend, object]] = {}
        for plugin in answers.implementing(self._manager, "declare_backend"):
            try:
                backend = validated(answers.answer_of(self._manager, "declare_backend", plugin))
                if backend.name in owners:
                    other = origin(owners[backend.name][1])
                    reason = f"two plugins declare the backend {backend.name!r}, this one and {other}, which stays"
                    raise InvalidDeclaration(reason, backend.name)
            except KeyboardInterrupt:
                raise
            except InvalidDeclaration as error:
                self._remove(plugin, str(error), error.backend)
            except BaseException as error:
                self._remove(plugin, f"declare_backend raised {summary(error)}")
            else:
                owners[backend.name] = (backend, plugin)
        return owners

    def _remove(self, plugin: object, reason: str, backend: str | None = None, *, guards: bool = False) -> None:
        guards = guards or may_refuse(plugin)
        if self._manager.is_registered(plugin):
            self._manager.unregister(plugin)
        self._broken.append(BrokenPlugin(name_of(plugin), origin(plugin), reason, MEND, guards, backend))


def _log(failure: Failure, what: str, name: str) -> None:
    log.error(f"the plugin %s {what}", origin(failure.plugin), name, exc_info=failure.error)
