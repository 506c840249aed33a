"""One figure as a table on the screen and as JSON beside it."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

RESULTS = Path(__file__).parent / "results"


@dataclass(frozen=True)
class Row:
    """One number; `target` is what it should stay below, None where it only explains another."""

    what: str
    value: float
    unit: str = ""
    target: float | None = None


@dataclass(frozen=True)
class Figure:
    """What one module of this package measured."""

    name: str
    title: str
    rows: tuple[Row, ...]
    notes: tuple[str, ...] = ()


def spread(what: str, seconds: Sequence[float], **targets: float) -> tuple[Row, ...]:
    """Return rows in milliseconds: median, p90 and p99 of `seconds`; `targets` names p50, p90 or p99."""
    points = {"p50": 0.5, "p90": 0.9, "p99": 0.99}
    return tuple(
        Row(f"{what}, {name}", quantile(seconds, q) * 1000, "ms", targets.get(name)) for name, q in points.items()
    )


def quantile(values: Sequence[float], q: float) -> float:
    """Return the value that a share `q` of `values` does not exceed."""
    ordered = sorted(values)
    return ordered[min(int(q * len(ordered)), len(ordered) - 1)]


def show(figure: Figure) -> None:
    print(f"\n{figure.name}: {figure.title}")
    width = max(len(row.what) for row in figure.rows)
    for row in figure.rows:
        target = f"target < {number(row.target, row.unit)}" if row.target is not None else ""
        print(f"  {row.what:<{width}}  {number(row.value, row.unit):>12}  {target}".rstrip())
    for note in figure.notes:
        print(f"  {note}")


def save(figure: Figure, machine: dict[str, Any], folder: Path = RESULTS) -> None:
    folder.mkdir(exist_ok=True)
    rows = [{**asdict(row), "value": float(f"{row.value:.4g}")} for row in figure.rows]
    entry = {"title": figure.title, "rows": rows, "notes": figure.notes, "machine": machine}
    (folder / f"{figure.name}.json").write_text(json.dumps(entry, indent=1) + "\n")


def load(name: str, folder: Path = RESULTS) -> tuple[Figure, dict[str, Any]] | None:
    """Return a saved figure and its machine, None if it was never measured."""
    path = folder / f"{name}.json"
    if not path.is_file():
        return None
    entry = json.loads(path.read_text())
    rows = tuple(Row(**row) for row in entry["rows"])
    return Figure(name, entry["title"], rows, tuple(entry["notes"])), entry["machine"]


def number(value: float, unit: str) -> str:
    """Return a value with its unit, at about three digits."""
    shown = f"{value:.0f}" if value >= 100 or value == int(value) else f"{value:.{1 if value >= 10 else 2}f}"
    return f"{shown} {unit}".strip()
