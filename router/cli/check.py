"""`framegate check`: validate the models file and a backend's contract."""

from collections.abc import Callable
from dataclasses import replace
from functools import partial

import click

from registry import ModelSpec
from router.cli.options import with_single_model
from router.engine.device import devices
from router.errors import BootError
from router.plugins import Plugins, missing, missing_message
from router.settings import Settings
from router.system import System, assemble
from router.testing.contract import CHECKS, ContractBroken, Subject


@click.command()
@click.option("--contract", metavar="BACKEND", help="Also test the contract of a backend with its models.")
@with_single_model
def check(settings: Settings, contract: str | None) -> None:
    """Report every problem of the models file and its weights.

    Settings and plugins are checked too. The exit status is 1 if there is a problem.
    """
    system = assemble(settings, serving=False)
    registry = system.registries.poll()
    for broken in system.plugins.broken:
        click.echo(str(broken))
    for backend in system.plugins.backends.values():
        if missing(backend):
            click.echo(f"note: {missing_message(backend)}")
    wrong = [*registry.notes, *(model.problem for model in registry.broken)]
    for problem in sorted(wrong, key=lambda problem: problem.line):
        click.echo(str(problem))
    counted = f"{len(registry.models) + len(registry.broken)} models, {len(registry.routes)} routes"
    problems = len(wrong) + len(system.plugins.broken)
    counted += f", {problems or 'no'} problem{'s' if problems > 1 else ''}"
    click.echo(f"{registry.file or settings.model}: {counted}")
    if contract is not None and not _keeps(system, contract):
        raise ContractBroken(f"the backend {contract} does not keep its contract")
    if problems:
        raise SystemExit(1)


def _keeps(system: System, backend: str) -> bool:
    if backend in system.plugins.backends and missing(system.plugins.backends[backend]):
        raise BootError(missing_message(system.plugins.backends[backend]))
    kept = True
    for model in _subjects(system, backend):
        folder = system.weights.obtain(model, lambda done, total: None)
        kept &= _model_keeps(system.plugins, replace(model, folder=folder))
    return kept


def _model_keeps(plugins: Plugins, model: ModelSpec) -> bool:
    subjects: list[Subject] = []
    kept = _holds(model, "load", lambda: subjects.append(Subject(plugins, model, devices(())[0])), "done")
    for subject in subjects:
        for check in CHECKS:
            kept &= _holds(model, check.__name__.replace("_", " "), partial(check, subject), "kept")
    return kept


def _holds(model: ModelSpec, name: str, check: Callable[[], None], success: str) -> bool:
    """Run a check and print its result; return False if it fails."""
    click.echo(f"{model.name}: {name}: ", nl=False)  # before the check: the backend may end this process
    try:
        check()
    except KeyboardInterrupt:
        raise
    except BaseException as error:  # a stranger's code under test
        message = error.message if isinstance(error, ContractBroken) else f"{type(error).__name__}: {error}"
        click.echo(f"BROKEN: {message}")
        return False
    click.echo(success)
    return True


def _subjects(system: System, backend: str) -> list[ModelSpec]:
    """Return one model of each modality of the backend, with weights here."""
    if backend not in system.plugins.backends:
        raise BootError(f"no backend is called {backend!r}; there are {', '.join(system.plugins.backends)}")
    models = [model for model in system.registries.poll().models if model.backend == backend]
    here = [model for model in models if system.weights.state(model) in ("none", "embedded", "here")]
    if not here:
        raise BootError(f"the models file has no model of the backend {backend} whose weights are on this machine")
    return list({model.modality: model for model in reversed(here)}.values())
