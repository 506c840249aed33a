"""`framegate models`: what is served, by whom, where the weights are, and what is loaded."""

from __future__ import annotations

from collections.abc import Sequence

import click

from router.cli.options import with_single_model
from router.settings import Settings
from router.system import System, assemble

HEADINGS = ("NAME", "MODALITY", "BACKEND", "WEIGHTS", "STATE", "SOURCE")


@click.command()
@with_single_model
def models(settings: Settings) -> None:
    """Show a table of models and routes."""
    system = assemble(settings)
    rows = [HEADINGS, *_models(system), *_routes(system)]
    widths = [max(len(row[column]) for row in rows) for column in range(len(HEADINGS))]
    for row in rows:
        click.echo("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip())


def _models(system: System) -> Sequence[tuple[str, ...]]:
    loaded = {name: engine.device for engine in system.engines.alive() for name in engine.resident}
    return [
        (
            _marked(system, model.name),
            model.modality.word,
            model.backend,
            system.weights.state(model),
            f"loaded on {loaded[model.name]}" if model.name in loaded else "not loaded",
            str(system.weights.locate(model) or model.source or "-"),
        )
        for model in system.registry.models
    ]


def _routes(system: System) -> Sequence[tuple[str, ...]]:
    return [
        (_marked(system, route.name), "route", "-", "-", "-", ", ".join(route.members))
        for route in system.registry.routes
    ]


def _marked(system: System, name: str) -> str:
    return f"{name} (default)" if name == system.registry.default else name
