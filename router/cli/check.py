"""`framegate check`: validate the models file and a backend's contract."""

import os
from contextlib import closing

import click

from registry import BrokenModel, Route
from router.catalog.footprints import Footprints
from router.cli.options import with_single_model
from router.engine.device import devices
from router.errors import BootError, RouterError
from router.plugins import missing, missing_message
from router.settings import Settings
from router.system import System, reading
from router.testing.process import ContractProcess
from router.testing.result import LOAD

STDERR = 2  # the standard output has the results alone


class ContractNotKept(RouterError):
    """The end of the command after a rule is broken."""


@click.command()
@click.option("--contract", metavar="BACKEND", help="Also test the contract of a backend with its models.")
@with_single_model
def check(settings: Settings, contract: str | None) -> None:
    """Report every problem of the models file and its weights.

    Settings and plugins are checked too. The exit status is 1 if there is a problem.
    """
    with reading(settings) as system:
        problems = _report(system)
        if contract is not None:
            _check_name(system, contract)
    if contract is not None and not _keeps(contract):
        raise ContractNotKept(f"the backend {contract} does not keep its contract")
    if problems:
        raise SystemExit(1)


def _report(system: System) -> int:
    """Print what weights take, problems and notes; return the number of problems."""
    registry = system.registries.poll()
    footprints, names = Footprints(system.plugins, system.weights), devices(())
    for model in registry.models:
        if footprint := str(footprints.of(model, names)):
            click.echo(f"{model.name}: {footprint}")
    for broken in system.plugins.broken:
        click.echo(str(broken))
    used = {model.backend for model in registry.models}
    for backend in system.plugins.backends.values():
        if backend.name in used and missing(backend):
            click.echo(f"note: {missing_message(backend)}")
    wrong = [*registry.notes, *(model.problem for model in registry.broken)]
    for problem in sorted(wrong, key=lambda problem: problem.line):
        click.echo(str(problem))
    problems = len(wrong) + len(system.plugins.broken)
    models = _counted(len(registry.models) + len(registry.broken), "model")
    counted = f"{models}, {_counted(len(registry.routes), 'route')}, {_counted(problems, 'problem')}"
    click.echo(f"{registry.file or system.settings.model}: {counted}")
    return problems


def _counted(number: int, what: str) -> str:
    return f"{number or 'no'} {what}{'' if number == 1 else 's'}"


def _check_name(system: System, backend: str) -> None:
    """Raise `BootError` for any name but that of a backend in service."""
    if backend in system.plugins.backends:
        return
    entry = system.registries.poll().find(backend)
    lost = system.plugins.known.may_have_brought(backend)
    if lost and (entry is None or (isinstance(entry, BrokenModel) and entry.backend == backend)):
        problems = "; ".join(each.problem for each in lost)
        raise BootError(f"--contract needs a backend that is in service, got {backend!r}: {problems}")
    if entry is None:
        return
    what = "a route" if isinstance(entry, Route) else f"a model of the backend {entry.backend}"
    raise BootError(f"--contract needs the name of a backend, got {backend!r}, {what}")


def _keeps(backend: str) -> bool:
    """Check every rule on the backend's models; print each result."""
    with closing(ContractProcess(backend, os.environ, output=STDERR)) as process:
        listing = process.listing
        for note in listing.notes:
            click.echo(f"note: {note}")
        kept = [_model_keeps(process, model) for model in listing.models]
    return all(kept)


def _model_keeps(process: ContractProcess, model: str) -> bool:
    _, *rules = process.listing.rules
    if not _holds(process, model, LOAD):
        return False
    kept = [_holds(process, model, rule) for rule in rules]
    return all(kept)


def _holds(process: ContractProcess, model: str, rule: str) -> bool:
    """Check a rule and print its result; return False if it is broken."""
    click.echo(f"{model}: {rule.replace('_', ' ')}: ", nl=False)  # first, as the check may take long
    result = process.check(model, rule)
    success = "done" if rule == LOAD else "kept"
    click.echo(f"BROKEN: {result.broken}" if result.broken else success)
    return not result.broken
