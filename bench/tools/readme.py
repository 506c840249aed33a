"""Write the saved figures into the READMEs, between their markers."""

import re
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from typing import Any

from bench.card import report
from bench.tools.machine import ROOT
from bench.tools.table import Figure, Row, load, number, remarks


def write(names: Iterable[str]) -> None:
    """Write all figures into `bench/README.md`, and rows with a target into `README.md`."""
    saved = [found for name in names if (found := load(name)) is not None]
    bench, root = ROOT / "bench" / "README.md", ROOT / "README.md"
    _between(bench, "results", "\n\n".join(_section(figure, machine) for figure, machine in saved))
    _between(bench, "card", "\n\n".join(_card_section(*each) for each in report.whole()))
    _between(root, "figures", _summary(saved))
    _between(root, "card", report.short())


def _card_section(heading: str, figure: Figure | None) -> str:
    if figure is None:
        return f"### {heading}\n\n{report.NOT_RUN}"
    notes = "; ".join([*figure.notes, *remarks(figure)])
    return f"### {heading}\n\n{_table(figure.rows)}\n\n{notes}".rstrip()


def _section(figure: Figure, machine: dict[str, Any]) -> str:
    notes = "; ".join([*figure.notes, *remarks(figure), _machine(machine)])
    return f"### {figure.name}: {figure.title}\n\n{_table(figure.rows)}\n\n{notes}"


def _summary(saved: list[tuple[Figure, dict[str, Any]]]) -> str:
    rows = []
    for figure, _ in saved:
        rows += [replace(row, what=f"{figure.name}: {row.what}") for row in figure.rows if row.wanted]
    machines = dict.fromkeys(_machine(machine, moment=False) for _, machine in saved)
    return f"{_table(rows)}\n\nOn {'; '.join(machines)}."


def _table(rows: Iterable[Row]) -> str:
    lines = ["| | measured | target |", "|---|---:|---:|"]
    lines += [f"| {row.what} | {number(row.value, row.unit)} | {row.wanted} |" for row in rows]
    return "\n".join(lines)


def _machine(machine: dict[str, Any], moment: bool = True) -> str:
    where = (
        f"{machine['cores']} cores of {machine['cpu']}, {machine['ram_gb']} GB RAM, {machine['filesystem']}, "
        f"{machine['os']}, Python {machine['python']}"
    )
    if not moment:
        return where
    changed = " with changes" if machine["uncommitted_changes"] else ""
    return f"{where}, {machine['date']}, commit {machine['commit']}{changed}, load {machine['load_before']} before"


def _between(path: Path, marker: str, text: str) -> None:
    """Put `text` between `<!-- marker -->` and `<!-- /marker -->`."""
    start, end = f"<!-- {marker} -->", f"<!-- /{marker} -->"
    old = path.read_text()
    new, found = re.subn(f"{start}.*?{end}", lambda _: f"{start}\n{text}\n{end}", old, flags=re.DOTALL)
    if found != 1:
        raise ValueError(f"{path.name} must hold {start} ... {end} once, got {found}")
    path.write_text(new)
