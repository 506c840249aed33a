"""Python, and the packages that Framegate was installed with."""

from __future__ import annotations

import re
import sys
from collections.abc import Callable, Iterable, Iterator
from importlib.metadata import PackageNotFoundError, requires, version

from router.doctor.finding import Case, Finding, fail, ok, warn

OLDEST = (3, 11)
NEED = re.compile(r"([A-Za-z0-9._-]+)(?:\[[^]]*\])?\s*(?:>=\s*([0-9.]+))?[^;]*(;.*extra.*)?")
RIVALS = ("opencv-python", "opencv-python-headless")
Version = Callable[[str], str | None]


def check(case: Case) -> Iterator[Finding]:
    yield python(sys.version_info[:3], sys.executable)
    try:
        needed = requires("framegate") or []
    except PackageNotFoundError:
        yield warn("packages", "framegate itself is not installed here, so nobody knows its needs", "pip install -e .")
    else:
        yield from packages(needed, installed)
    yield from rivals(installed)


def installed(name: str) -> str | None:
    """Return the version of a package, None if it is not here."""
    try:
        return version(name)
    except PackageNotFoundError:
        return None


def python(release: tuple[int, ...], executable: str) -> Finding:
    shown = ".".join(map(str, release))
    if release < OLDEST:
        return fail("python", f"Python {shown} is too old", "3.11 or newer is needed")
    return ok("python", f"Python {shown}, {executable}")


def packages(needs: Iterable[str], version_of: Version) -> Iterator[Finding]:
    """Hold what is installed against the needs, as a package's metadata write them; those of extras may be absent."""
    seen = []
    for need in needs:
        found = NEED.match(need)
        if found is None:
            continue
        name, least, extra = found[1], found[2], found[3]
        here = version_of(name)
        if here is None and not extra:
            yield fail("packages", f"{name} is missing", f"pip install '{need}'")
        elif here is not None and least and _numbers(here) < _numbers(least):
            yield fail("packages", f"{name} is {here}, {least} is needed", f"pip install -U '{name}>={least}'")
        elif here is not None:
            seen.append(f"{name} {here}")
    yield ok("packages", ", ".join(sorted(set(seen))) or "none is needed")


def rivals(version_of: Version) -> Iterator[Finding]:
    """Find packages that overwrite each other's files."""
    if all(version_of(name) for name in RIVALS):
        pip = f"pip uninstall -y {' '.join(RIVALS)} && pip install {RIVALS[1]}"
        yield fail("packages", f"{' and '.join(RIVALS)} are both installed and overwrite each other", pip)


def _numbers(version: str) -> tuple[int, ...]:
    """Return the numbers before anything else, less zeros at their end: (2, 13) of `2.13.0+cu130`."""
    leading = re.match(r"[0-9]+(\.[0-9]+)*", version)
    numbers = [int(part) for part in leading[0].split(".")] if leading else []
    while numbers and numbers[-1] == 0:
        numbers.pop()
    return tuple(numbers)
