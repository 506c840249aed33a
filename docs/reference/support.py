"""The table of published variants by a card's memory: the best configuration that fits."""

from collections.abc import Iterator

from docs.reference.table import code, table
from registry.families import FAMILIES, Family
from registry.loader import load_one
from router.catalog.fit import Budget, Verdict, default_size, job_bytes, verdict
from router.plugins import Plugins, find
from router.settings import Settings
from router.values import Alternative, gigabytes

MEMORIES = (8, 12, 16, 24, 48, 80, 141)  # GB
DEVICE = "cuda:0"
WORDS = {"group_offload": "group offload", "weights": "`weights: fp8`"}


def support() -> str:
    """Return what fits, by family and memory, at the family's default size."""
    plugins = Plugins(find([]))
    rows = [_row(family, plugins) for family in FAMILIES if family.repo is not None]
    return table(("family, at its default video", *(f"{memory} GB" for memory in MEMORIES)), rows)


def _row(family: Family, plugins: Plugins) -> tuple[str, ...]:
    (model,) = load_one(family.source, "diffusers", plugins.known).models
    plan = plugins.plan(model, DEVICE)
    assert plan is not None  # a test has each family's parts
    size = default_size(model)
    cells = (_cell(verdict(model, plan, Budget.of(Settings(), memory * 10**9))) for memory in MEMORIES)
    return f"{code(family.name)}<br>{size}, ~{gigabytes(job_bytes(plan, size))} beside the weights", *cells


def _cell(found: Verdict) -> str:
    if found.fits and not found.is_smaller:
        return f"bf16<br>{gigabytes(found.plan.device_bytes)}"
    if found.chosen is None:
        least = min(each.plan.device_bytes for each in found.plan.alternatives)
        return f"not at all: the least is {gigabytes(least)}"
    lines = [*(_change(found.alternatives[0]) if not found.fits else ("bf16",)), gigabytes(found.chosen.device_bytes)]
    if found.chosen.host_bytes:
        lines.append(f"{gigabytes(found.chosen.host_bytes)} on the host")
    if found.is_smaller:
        lines.append(f"up to ~{found.size}")
    return "<br>".join(lines)


def _change(change: Alternative) -> Iterator[str]:
    yield from (WORDS.get(option, f"`{option}: {value}`") for option, value in change.options.items())
    forms = {part.removesuffix("_2"): form for part, form in change.files.items()}
    yield from (f"{part.replace('_', ' ')} in ~{form}" for part, form in forms.items())
