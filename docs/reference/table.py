"""A table in Markdown."""

from collections.abc import Iterable, Sequence


def table(headings: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Return a table; a bar within a cell is escaped."""
    lines = [_line(headings), f"|{'---|' * len(headings)}"]
    return "\n".join([*lines, *map(_line, rows)])


def code(value: object) -> str:
    """Return a value as code, a dash for none."""
    return f"`{value}`" if value not in ("", None) else "-"


def first_line(text: str | None) -> str:
    """Return the first paragraph of a docstring on one line."""
    return " ".join((text or "").partition("\n\n")[0].split())


def _line(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in cells)} |"
