"""The report of `framegate plan`, as text and as JSON."""

from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import click

from registry import ModelSpec
from router.catalog.fit import Budget, Verdict, default_size, job_bytes, largest
from router.catalog.residents import loadings, shared
from router.cli.table import show
from router.runtime.byte_size import format_bytes
from router.values import Alternative, Basis, Plan

HEADINGS = ("MODEL", "FITS", "WEIGHTS", "DEFAULT VIDEO", "VIDEOS UP TO", "ON THE HOST", "WEIGHTS KNOWN BY")
SHOWN = 3  # alternatives of a model
FILE = "FILE"  # stands for a file in an example


class Card(NamedTuple):
    """A card's bytes of memory, and a local device's name."""

    total: int
    name: str = ""

    def __str__(self) -> str:
        return f"{self.name} ({format_bytes(self.total)})" if self.name else f"a card of {format_bytes(self.total)}"


class Unplanned(NamedTuple):
    """A model without a plan, and the reason."""

    name: str
    reason: str


def show_report(
    card: Card, budget: Budget, verdicts: Sequence[Verdict], unplanned: Sequence[Unplanned], most: int
) -> None:
    """Print a table, changes of entries, and the models in memory at once."""
    click.echo(
        f"On {card} models may take {format_bytes(budget.device)}, their weights {format_bytes(budget.weights)} of it "
        "(FRAMEGATE_MEMORY_BUDGET, FRAMEGATE_ACTIVATION_RESERVE)."
    )
    click.echo()
    show([HEADINGS, *map(_row, verdicts), *((each.name, "unknown", *["-"] * 4, each.reason) for each in unplanned)])
    for each in verdicts:
        if lines := list(_advice(each, budget)):
            click.echo()
            for line in lines:
                click.echo(line)
    click.echo()
    for line in _together(verdicts, budget, most):
        click.echo(line)
    if any(other.files for each in verdicts for other in each.alternatives):
        click.echo(f"{FILE} is a path, which begins with ./, ../, / or ~, or OWNER/NAME/FILE on the hub.")
    click.echo("~ is an estimate from the code, which no GPU has measured.")


def _row(each: Verdict) -> tuple[str, ...]:
    plan = each.chosen or each.plan
    fits = "yes" if each.fits else "with a change" if each.chosen else "no"
    if each.is_smaller:
        fits = f"smaller videos, {fits}" if not each.fits else "smaller videos"
    host = format_bytes(plan.host_bytes) if plan.host_bytes else "-"
    job = job_bytes(plan, default_size(each.model))
    size = f"~{each.size}" if each.size else "-"
    weights = _weights(plan)
    return each.model.name, fits, weights, f"~{format_bytes(job)}" if job else "-", size, host, plan.basis.value


def _weights(plan: Plan) -> str:
    return f"{'~' if plan.basis is Basis.FORMATS else ''}{format_bytes(plan.device_bytes)}"


def _advice(each: Verdict, budget: Budget) -> Iterator[str]:
    """Yield changes of an entry with which more fits."""
    name = each.model.name
    if each.fits:
        wider = [other for other in each.alternatives if _exceeds(each, other, budget)]
        if wider:
            yield f"{name} makes larger videos with this in its entry of the models file:"
            yield from (_change(each.model, other, budget) for other in wider[:1])
        return
    size = default_size(each.model)
    job = job_bytes(each.plan, size)
    needs = f"{format_bytes(each.plan.device_bytes)} of weights and ~{format_bytes(job)} for a video of {size}"
    if each.alternatives:
        fits = "Smaller ones fit" if each.is_smaller else "It fits"
        yield f"{name} as it is configured needs {needs}. {fits} with one of these in its entry of the models file:"
        yield from (_change(each.model, other, budget) for other in each.alternatives[:SHOWN])
        return
    yield f"{name} does not fit: as it is configured it needs {needs}."
    plans = [each.plan, *(other.plan for other in each.alternatives or each.plan.alternatives)]
    least = min(plans, key=lambda plan: plan.device_bytes)
    host = f", and {format_bytes(least.host_bytes)} on the host" if least.host_bytes else ""
    yield f"  The least is {_weights(least)} of weights and ~{format_bytes(job_bytes(least, size))}{host}."


def _exceeds(each: Verdict, other: Alternative, budget: Budget) -> bool:
    size = largest(each.model, other.plan, budget)
    now = each.size
    return size is not None and now is not None and _extent(size) > _extent(now)


def _extent(size: Any) -> tuple[int, int]:
    return size.width * size.height, size.num_frames


def _change(model: ModelSpec, other: Alternative, budget: Budget) -> str:
    options = ", ".join(f"{name}: {_yaml(value)}" for name, value in other.options.items())
    written = [f"options: {{{options}}}"] if options else []
    if other.files:
        written.append(f"parts: {{{', '.join(f'{part}: {FILE}' for part in other.files)}}}")
    about = [f"{_weights(other.plan)} of weights on the card"]
    about += [f"{format_bytes(other.plan.host_bytes)} on the host"] if other.plan.host_bytes else []
    size = largest(model, other.plan, budget)
    about += [f"videos up to ~{size}"] if size else []
    about += [f"files in {_formats(other)}"] if other.files else []
    return "".join(f"    {line}\n" for line in written) + f"      # {', '.join(about)}"


def _formats(other: Alternative) -> str:
    forms = dict.fromkeys(other.files.values())
    return " and ".join(f"{form} ({', '.join(p for p, f in other.files.items() if f == form)})" for form in forms)


def _yaml(value: object) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def _chosen(verdicts: Sequence[Verdict]) -> list[tuple[ModelSpec, Plan]]:
    return [(each.model, each.chosen) for each in verdicts if each.chosen is not None]


def _together(verdicts: Sequence[Verdict], budget: Budget, most: int) -> Iterator[str]:
    """Yield the parts that models share, and the models in memory at once."""
    plans = _chosen(verdicts)
    if len(plans) < 2:
        return
    once: dict[tuple[str, ...], list[str]] = {}
    for part, names in shared(plans):
        once.setdefault(names, []).append(f"{part.name} ({format_bytes(part.device_bytes)})")
    for names, parts in once.items():
        yield f"In memory once for {', '.join(names)}: {', '.join(parts)}."
    steps = loadings(plans, budget.weights, most)
    first = next((number for number, step in enumerate(steps) if step.evicted), len(steps))
    if first == len(steps):
        yield f"All {len(steps)} models that fit are in memory at once."
        return
    are = "model is" if first == 1 else f"{first} models are"
    yield f"Loaded one after the other, of {len(steps)} models the first {are} in memory at once. Then"
    for step in steps:
        if step.evicted:
            beside = f", and stays beside {', '.join(step.resident[:-1])}" if len(step.resident) > 1 else ""
            yield f"  {step.model} unloads {', '.join(step.evicted)}{beside}."


def as_json(
    card: Card, budget: Budget, verdicts: Sequence[Verdict], unplanned: Sequence[Unplanned], most: int
) -> dict[str, Any]:
    """Return the report as values of JSON; bytes are whole numbers."""
    plans = _chosen(verdicts)
    return {
        "memory": card.total,
        "device": card.name or None,
        "budget": budget.device,
        "budget_of_weights": budget.weights,
        "budget_of_host": budget.host,
        "models": [_entry(each, budget) for each in verdicts],
        "unknown": {each.name: each.reason for each in unplanned},
        "shared": [
            {"part": part.name, "bytes": part.device_bytes, "models": list(names)} for part, names in shared(plans)
        ],
        "loadings": [
            {"model": step.model, "unloads": list(step.evicted), "in_memory": list(step.resident)}
            for step in loadings(plans, budget.weights, most)
        ],
    }


def _entry(each: Verdict, budget: Budget) -> dict[str, Any]:
    others = [
        {"options": dict(other.options), "files": dict(other.files), **_planned(each.model, other.plan, budget)}
        for other in each.alternatives
    ]
    return {
        "name": each.model.name,
        "fits": each.fits,
        **_planned(each.model, each.plan, budget),
        "alternatives": others,
    }


def _planned(model: ModelSpec, plan: Plan, budget: Budget) -> dict[str, Any]:
    size = largest(model, plan, budget)
    return {
        "weights": plan.device_bytes,
        "host": plan.host_bytes,
        "known_by": plan.basis.value,
        "estimated_job": job_bytes(plan, default_size(model)),
        "estimated_largest": str(size) if size else None,
        "parts": [
            {"name": part.name, "device": part.device_bytes, "host": part.host_bytes, "format": part.format}
            for part in plan.parts
        ],
    }
