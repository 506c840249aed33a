"""Checks of Python and the installed packages."""

import sys
from collections.abc import Callable, Iterable, Iterator
from importlib.metadata import PackageNotFoundError, requires, version

from packaging.requirements import Requirement

from router.doctor.finding import DoctorContext, Finding, fail, ok, warn

OLDEST = (3, 11)
RIVALS = ("opencv-python", "opencv-python-headless")
Version = Callable[[str], str | None]


def check(context: DoctorContext) -> Iterator[Finding]:
    yield python(sys.version_info[:3], sys.executable)
    try:
        needed = requires("framegate") or []
    except PackageNotFoundError:
        yield warn("packages", "framegate itself is not installed here, so nobody knows its needs", "pip install -e .")
    else:
        yield from packages(needed, installed)
    yield from rivals(installed)


def installed(name: str) -> str | None:
    """Return the version of a package, or None."""
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
    """Compare the installed versions with a package's requirements."""
    seen = []
    for need in map(Requirement, needs):
        # packages of extras may be absent
        extra = need.marker is not None and "extra" in str(need.marker)
        if need.marker and not extra and not need.marker.evaluate():
            continue  # of another platform or Python
        here = version_of(need.name)
        if here is None and not extra:
            yield fail("packages", f"{need.name} is missing", f"pip install '{need}'")
        elif here is not None and not need.specifier.contains(here, prereleases=True):
            advice = f"pip install -U '{need.name}{need.specifier}'"
            yield fail("packages", f"{need.name} is {here}, {need.specifier} is needed", advice)
        elif here is not None:
            seen.append(f"{need.name} {here}")
    yield ok("packages", ", ".join(sorted(set(seen))) or "none is needed")


def rivals(version_of: Version) -> Iterator[Finding]:
    """Report packages that overwrite each other's files."""
    if all(version_of(name) for name in RIVALS):
        pip = f"pip uninstall -y {' '.join(RIVALS)} && pip install {RIVALS[1]}"
        yield fail("packages", f"{' and '.join(RIVALS)} are both installed and overwrite each other", pip)
