"""Write the saved figures into the documentation, between its markers."""

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bench.card import report
from bench.tools.machine import ROOT
from bench.tools.table import Figure, Row, load, number, remarks
from docs.reference.markers import filled

FRONT, DOCS, BENCH = ROOT / "README.md", ROOT / "docs", ROOT / "bench" / "README.md"
Saved = tuple[Figure, dict[str, Any]]


@dataclass(frozen=True)
class Headline:
    """A row of a figure on the front page, in a visitor's words."""

    words: str
    figure: str
    row: str


HEADLINES = (
    Headline(
        "from the start of the web half to its first 200 of `/healthz`",
        "boot",
        "first answer, the default web processes, median",
    ),
    Headline("added to the backend's own time by a request", "overhead", "added to the backend's own time, p50"),
    Headline("a refusal, while an engine takes every core", "refusal", "engine takes every core, p50"),
    Headline("jobs lost, of 2,000 from 64 callers", "load", "jobs lost"),
    Headline("a video of Wan Nano, share of stock diffusers' time", "fast", "t2v: ours, share of stock"),
)


def write(names: Iterable[str]) -> None:
    """Write the figures into `docs/` and `bench/README.md`, and a few into `README.md`."""
    saved = {name: found for name in names if (found := load(name)) is not None}
    _write(DOCS / "figures.md", "figures", "\n\n".join(_section(figure, machine) for figure, machine in saved.values()))
    _write(DOCS / "speed-and-memory.md", "card", report.short())
    _write(BENCH, "card", "\n\n".join(_card_section(*each) for each in report.whole()))
    _write(FRONT, "figures", front(saved))


def front(saved: dict[str, Saved]) -> str:
    """Return the front page's table, with the machines that measured it."""
    rows = [(headline.words, _row(saved, headline)) for headline in HEADLINES]
    machines = dict.fromkeys(_machine(saved[headline.figure][1], moment=False) for headline in HEADLINES)
    lines = ["| | measured |", "|---|---:|"]
    lines += [f"| {words} | {number(row.value, row.unit)} |" for words, row in rows]
    return "\n".join(lines) + f"\n\nOn {'; '.join(machines)}."


def _row(saved: dict[str, Saved], headline: Headline) -> Row:
    rows = saved[headline.figure][0].rows if headline.figure in saved else ()
    found = [row for row in rows if row.what == headline.row]
    if len(found) != 1:
        raise LookupError(f"{headline.figure} must have one row {headline.row!r}, got {len(found)}")
    return found[0]


def _card_section(heading: str, figure: Figure | None) -> str:
    if figure is None:
        return f"### {heading}\n\n{report.NOT_RUN}"
    notes = "; ".join([*figure.notes, *remarks(figure)])
    return f"### {heading}\n\n{_table(figure.rows)}\n\n{notes}".rstrip()


def _section(figure: Figure, machine: dict[str, Any]) -> str:
    notes = " ".join(_sentence(each) for each in (*figure.notes, *remarks(figure)))
    parts = [f"### {figure.name}", _sentence(figure.title), _table(figure.rows), notes, f"*{_machine(machine)}*"]
    return "\n\n".join(filter(None, parts))


def _sentence(text: str) -> str:
    return f"{text[:1].upper()}{text[1:]}."


def _table(rows: Iterable[Row]) -> str:
    lines = ["| | measured | budget |", "|---|---:|---:|"]
    lines += [f"| {row.what} | {number(row.value, row.unit)} | {row.wanted} |" for row in rows]
    return "\n".join(lines)


def _machine(machine: dict[str, Any], moment: bool = True) -> str:
    cores = machine["cores"]
    where = (
        f"{cores} core{'s' if cores != 1 else ''} of {machine['cpu']}, {machine['ram_gb']} GB RAM, "
        f"{machine['filesystem']}, {machine['os']}, Python {machine['python']}"
    )
    if not moment:
        return where
    changed = " with changes" if machine["uncommitted_changes"] else ""
    return f"{where}, {machine['date']}, commit {machine['commit']}{changed}, load {machine['load_before']} before"


def _write(path: Path, marker: str, text: str) -> None:
    path.write_text(filled(path.read_text(), marker, text))
