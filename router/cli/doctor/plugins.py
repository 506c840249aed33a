"""The plugins: whether they load, what they declare, and what their backends lack."""

from __future__ import annotations

from collections.abc import Iterator

from router.cli.doctor.finding import Case, Finding, fail, ok, warn
from router.errors import BootError
from router.plugins import Plugins, find, missing, wanted
from router.values import Backend


def check(case: Case) -> Iterator[Finding]:
    try:
        found = Plugins(find(case.settings.plugins))
    except BootError as error:
        yield fail("plugins", error.message, "mend it, or take it out of FRAMEGATE_PLUGINS")
        return
    for backend in found.backends.values():
        yield able(backend)


def able(backend: Backend) -> Finding:
    """Say what a backend can run, and whether it has here what it needs for that."""
    if missing(backend):
        return warn("plugins", wanted(backend), "until then its models are not run here")
    modalities = ", ".join(sorted(modality.word for modality in backend.modalities))
    return ok("plugins", f"the backend {backend.name} runs {modalities}")
