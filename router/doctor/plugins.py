"""Checks of plugins: import, backends and their requirements."""

from collections.abc import Iterator

from registry import RegistryError
from router.doctor.finding import DoctorContext, Finding, fail, ok, warn
from router.errors import BootError
from router.plugins import BrokenPlugin, Plugins, find, missing, missing_message
from router.settings import Settings
from router.system import read
from router.values import Backend


def check(context: DoctorContext) -> Iterator[Finding]:
    found = Plugins(find(context.settings.plugins))
    for broken in found.broken:
        yield out_of_service(broken)
    used = _used(context.settings, found)
    for backend in found.backends.values():
        yield able(backend, used=backend.name in used)


def _used(settings: Settings, plugins: Plugins) -> frozenset[str]:
    """Return the backends of the models file; all, if it is unreadable."""
    try:
        return frozenset(model.backend for model in read(settings, plugins.known).models)
    except (BootError, RegistryError):  # the check of models reports it
        return frozenset(plugins.backends)


def out_of_service(broken: BrokenPlugin) -> Finding:
    """Report a broken plugin and its consequences."""
    message = f"{broken.origin} is out of service: {broken.reason}"
    more = "; it may refuse requests, so the web half does not start without it" if broken.guards else ""
    return fail("plugins", message, f"{broken.advice}; until then its models are refused{more}")


def able(backend: Backend, *, used: bool = True) -> Finding:
    """Report a backend's modalities and missing requirements."""
    if missing(backend) and not used:
        return ok("plugins", f"{missing_message(backend)}; no model uses it")
    if missing(backend):
        return warn("plugins", missing_message(backend), "until then its models are not run here")
    modalities = ", ".join(sorted(modality.word for modality in backend.modalities))
    return ok("plugins", f"the backend {backend.name} runs {modalities}")
