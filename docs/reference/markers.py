"""Text between `<!-- marker -->` and `<!-- /marker -->`."""

import re

MARKER = re.compile(r"^<!-- ([a-z-]+) -->$", re.MULTILINE)


def markers(page: str) -> list[str]:
    """Return the names of a page's markers, in order."""
    return MARKER.findall(page)


def filled(page: str, marker: str, text: str) -> str:
    """Return `page` with `text` between its one pair of markers."""
    start, end = f"<!-- {marker} -->", f"<!-- /{marker} -->"
    new, found = re.subn(f"{start}\n.*?{end}", lambda _: f"{start}\n{text}\n{end}", page, flags=re.DOTALL)
    if found != 1:
        raise ValueError(f"a page must have {start} ... {end} once, got {found}")
    return new


def between(page: str, marker: str) -> str:
    """Return the text between a pair of markers."""
    _, start, rest = page.partition(f"<!-- {marker} -->\n")
    text, end, _ = rest.partition(f"<!-- /{marker} -->")
    if not (start and end):
        raise ValueError(f"the page must have <!-- {marker} --> ... <!-- /{marker} -->, got neither or one of them")
    return text
