"""Checks of plugins: import, backends and their requirements."""

from collections.abc import Iterator

from router.doctor.finding import DoctorContext, Finding, fail, ok, warn
from router.plugins import BrokenPlugin, Plugins, find, missing, missing_message
from router.values import Backend


def check(context: DoctorContext) -> Iterator[Finding]:
    found = Plugins(find(context.settings.plugins))
    for broken in found.broken:
        yield out_of_service(broken)
    for backend in found.backends.values():
        yield able(backend)


def out_of_service(broken: BrokenPlugin) -> Finding:
    """Report a broken plugin and its consequences."""
    message = f"{broken.origin} is out of service: {broken.reason}"
    more = "; it may refuse requests, so the web half does not start without it" if broken.guards else ""
    return fail("plugins", message, f"{broken.advice}; until then its models are refused{more}")


def able(backend: Backend) -> Finding:
    """Report a backend's modalities and missing requirements."""
    if missing(backend):
        return warn("plugins", missing_message(backend), "until then its models are not run here")
    modalities = ", ".join(sorted(modality.word for modality in backend.modalities))
    return ok("plugins", f"the backend {backend.name} runs {modalities}")
