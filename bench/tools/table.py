"""A figure as a table on the screen and as JSON."""

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

RESULTS = Path(__file__).parents[1] / "results"


@dataclass(frozen=True)
class Row:
    """A number; it should be below `target` and at least `least`, if any."""

    what: str
    value: float
    unit: str = ""
    target: float | None = None
    least: float | None = None

    @property
    def missed(self) -> bool:
        above = self.target is not None and self.value >= self.target
        return above or (self.least is not None and self.value < self.least)

    @property
    def wanted(self) -> str:
        least = [] if self.least is None else [f"at least {number(self.least, self.unit)}"]
        most = [] if self.target is None else [f"< {number(self.target, self.unit)}"]
        return ", ".join(least + most)


@dataclass(frozen=True)
class Figure:
    """The numbers of one measurement; `failures` are checks that raised, `skipped` others."""

    name: str
    title: str
    rows: tuple[Row, ...]
    notes: tuple[str, ...] = ()
    failures: tuple[str, ...] = ()
    skipped: tuple[str, ...] = ()


def spread(what: str, seconds: Sequence[float], **targets: float) -> tuple[Row, ...]:
    """Return p50, p90 and p99 of `seconds` in milliseconds; `targets` by these names."""
    points = {"p50": 0.5, "p90": 0.9, "p99": 0.99}
    return tuple(
        Row(f"{what}, {name}", quantile(seconds, q) * 1000, "ms", targets.get(name)) for name, q in points.items()
    )


def quantile(values: Sequence[float], q: float) -> float:
    ordered = sorted(values)
    return ordered[min(int(q * len(ordered)), len(ordered) - 1)]


def show(figure: Figure) -> None:
    print(f"\n{figure.name}: {figure.title}")
    width = max((len(row.what) for row in figure.rows), default=0)
    for row in figure.rows:
        target = f"target {row.wanted}" if row.wanted else ""
        print(f"  {row.what:<{width}}  {number(row.value, row.unit):>12}  {target}".rstrip())
    for note in (*figure.notes, *remarks(figure)):
        print(f"  {note}")


def remarks(figure: Figure) -> tuple[str, ...]:
    return (*(f"FAILED: {each}" for each in figure.failures), *(f"not run: {each}" for each in figure.skipped))


def save(figure: Figure, machine: dict[str, Any], folder: Path = RESULTS) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    rows = [{**asdict(row), "value": float(f"{row.value:.4g}")} for row in figure.rows]
    entry = {"title": figure.title, "rows": rows, "notes": figure.notes}
    entry |= {"failures": figure.failures, "skipped": figure.skipped, "machine": machine}
    path = folder / f"{figure.name}.json"
    draft = path.with_suffix(".part")
    draft.write_text(json.dumps(entry, indent=1, allow_nan=False) + "\n")
    draft.replace(path)  # an interrupted run leaves the last whole file


def load(name: str, folder: Path = RESULTS) -> tuple[Figure, dict[str, Any]] | None:
    """Return a saved figure and its machine; None if there is none."""
    path = folder / f"{name}.json"
    if not path.is_file():
        return None
    entry = json.loads(path.read_text())
    rows = tuple(Row(**row) for row in entry["rows"])
    lists = (tuple(entry.get(key, ())) for key in ("notes", "failures", "skipped"))
    return Figure(name, entry["title"], rows, *lists), entry["machine"]


def number(value: float, unit: str) -> str:
    """Return a value with about three digits, and its unit."""
    shown = f"{value:.0f}" if value >= 100 or value == int(value) else f"{value:.{1 if value >= 10 else 2}f}"
    return f"{shown} {unit}".strip()
