"""`framegate check`: is the models file right, and does a backend keep its contract?"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import click

from registry import ModelSpec
from router.cli.options import with_single_model
from router.engine.device import devices
from router.errors import BootError
from router.plugins import missing, wanted
from router.settings import Settings
from router.system import System, assemble
from router.testing.contract import CHECKS, ContractBroken, Subject


@click.command()
@click.option("--contract", metavar="BACKEND", help="Also run a backend's models through what every backend keeps.")
@with_single_model
def check(settings: Settings, contract: str | None) -> None:
    """Say what is wrong with the models file, and with the folders of weights that it names.

    And with settings and plugins: every problem at once, and an exit status above 0 when there is one.
    """
    system = assemble(settings, serving=False)
    registry = system.registries.poll()
    for broken in system.plugins.broken:
        click.echo(str(broken))
    for backend in system.plugins.backends.values():
        if missing(backend):
            click.echo(f"note: {wanted(backend)}")
    wrong = [*registry.notes, *(model.problem for model in registry.broken)]
    for problem in sorted(wrong, key=lambda problem: problem.line):
        click.echo(str(problem))
    counted = f"{len(registry.models) + len(registry.broken)} models, {len(registry.routes)} routes"
    click.echo(f"{registry.file or settings.model}: {counted}, {_counted(len(wrong) + len(system.plugins.broken))}")
    if contract is not None and not _keeps(system, contract):
        raise ContractBroken(f"the backend {contract} does not keep its contract")
    if wrong or system.plugins.broken:
        raise SystemExit(1)


def _counted(problems: int) -> str:
    return f"{problems or 'no'} problem{'s' if problems > 1 else ''}"


def _keeps(system: System, backend: str) -> bool:
    if backend in system.plugins.backends and missing(system.plugins.backends[backend]):
        raise BootError(wanted(system.plugins.backends[backend]))
    kept = True
    for model in _subjects(system, backend):
        folder = system.weights.obtain(model, lambda done, total: None)
        subject = Subject(system.plugins, replace(model, folder=folder), devices(())[0])
        for one in CHECKS:
            said = _broken(subject, one)
            kept = kept and said is None
            click.echo(f"{model.name}: {one.__name__.replace('_', ' ')}: {said or 'kept'}")
    return kept


def _broken(subject: Subject, check: Callable[[Subject], None]) -> str | None:
    try:
        check(subject)
    except ContractBroken as broken:
        return f"BROKEN: {broken.message}"
    except Exception as error:  # a stranger's code under test
        return f"BROKEN: {type(error).__name__}: {error}"
    return None


def _subjects(system: System, backend: str) -> list[ModelSpec]:
    """Return the backend's models whose weights are here, one of each modality."""
    if backend not in system.plugins.backends:
        raise BootError(f"no backend is called {backend!r}; there are {', '.join(system.plugins.backends)}")
    models = [model for model in system.registries.poll().models if model.backend == backend]
    here = [model for model in models if system.weights.state(model) in ("none", "embedded", "here")]
    if not here:
        raise BootError(f"the models file has no model of the backend {backend} whose weights are on this machine")
    return list({model.modality: model for model in reversed(here)}.values())
