"""Checks of the models file and each model's weights."""

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from registry import BrokenModel, ModelSpec, RegistryError, part_files
from registry.folders.files import PICKLES
from registry.source import is_folder, is_hub_id
from router.catalog.footprints import Footprints
from router.catalog.weights import Weights
from router.doctor.finding import DoctorContext, Finding, fail, ok, warn
from router.doctor.permissions import server, unchangeable
from router.engine.device import devices
from router.engine.memory_fit import MemoryFit
from router.errors import BootError, ModelUnavailable
from router.plugins import Plugins, find
from router.settings import Settings
from router.system import read
from router.values import UsedAdapter


def check(context: DoctorContext) -> Iterator[Finding]:
    settings = context.settings
    try:
        plugins = Plugins(find(settings.plugins))
        registry = read(settings, plugins.known)
    except BootError:
        return  # the check of plugins reports it
    except RegistryError as error:
        for problem in error.problems:
            yield fail("models", str(problem), "mend the file; 'framegate check' reads it again")
        return
    count = len(registry.models) + len(registry.broken)
    one = f"one model is served and no file: {settings.model}"
    yield ok("models", one if settings.model else f"{settings.models}: {count} models, {len(registry.routes)} routes")
    for broken in registry.broken:
        yield out_of_service(broken, has_backend=broken.backend in plugins.backends)
    for note in registry.notes:
        yield warn("models", str(note), "mend the entry, or name the folder that was meant")
    found = Weights(settings.data, plugins.backends)
    shipped = settings.model is None and settings.models.resolve() == Settings().models.resolve()
    yield from weights(registry.models, found, shipped=shipped)
    yield from footprints(registry.models, Footprints(plugins, found), devices(()))
    yield from sizes(registry.models, [MemoryFit(settings, plugins, found, device) for device in devices(())])
    for model in registry.models:
        if (folder := found.locate(model)) is not None and found.state(model) != "embedded":
            yield from safe(model.name, folder, server(settings.data))
        yield from safe_files(model, server(settings.data))


def out_of_service(broken: BrokenModel, *, has_backend: bool) -> Finding:
    """Report a broken model: its folder, or its backend's plugin."""
    here = "mend its files and run 'framegate reload'" if has_backend else "mend the plugin and start the server again"
    advice = f"{here}; until then requests get 503, and other models are served"
    message = broken.problem.message if has_backend else broken.reason
    return fail("weights" if has_backend else "models", f"{broken.name} is broken: {message}", advice)


def weights(models: tuple[ModelSpec, ...], found: Weights, *, shipped: bool = False) -> Iterator[Finding]:
    """Report the models with weights, and each model without.

    The `shipped` models file has examples: it is no fault that nobody has fetched one.
    """
    here, examples = [], []
    for model in models:
        try:
            found.check(model)
            here.append(model.name)
        except ModelUnavailable as error:
            if shipped and found.state(model) == "missing":
                examples.append(model.name)
                continue
            message, _, advice = error.message.partition(": ")
            yield warn("weights", message, advice or "until then its requests are refused with 503")
    if not shipped:
        yield from adapters([model for model in models if model.name in here], found)
    yield ok("weights", f"there, or fetched when needed: {', '.join(here) or 'of no model'}")
    if examples:
        yield ok("weights", f"not fetched: {', '.join(examples)}; 'framegate pull NAME' fetches one")


def adapters(models: Iterable[ModelSpec], found: Weights) -> Iterator[Finding]:
    """Report each adapter whose files must be fetched; notes report unreadable and local ones."""
    for model in models:
        for adapter in model.adapters:
            if is_hub_id(adapter.source) and found.adapter_state(model, adapter) != "broken":
                try:
                    found.check_adapters(model, [UsedAdapter(adapter.name)])
                except ModelUnavailable as error:
                    message, _, advice = error.message.partition(": ")
                    yield warn("weights", message, advice)


def footprints(models: Iterable[ModelSpec], found: Footprints, names: Sequence[str]) -> Iterator[Finding]:
    """Report what each model's weights take on disk and on the devices `names`."""
    for model in models:
        if footprint := str(found.of(model, names)):
            yield ok("weights", f"{model.name}: {footprint}")


def sizes(models: tuple[ModelSpec, ...], fittings: list[MemoryFit]) -> Iterator[Finding]:
    """Report models too large for every device of this machine."""
    for model in models:
        needs = {each.device: each.need(model) for each in fittings if model.may_run_on(each.device)}
        if needs and all(needs.values()):
            message = "; ".join(f"on {device} it {need}" for device, need in needs.items())
            # the largest device has the advice that changes the numbers least
            remedy = max(filter(None, needs.values()), key=lambda need: need.budget).remedy
            advice = f"{remedy}; until then requests get 503"
            yield fail("weights", f"{model.name} can never be loaded: {message}", advice)


def safe(model: str, folder: Path, user: int) -> Iterator[Finding]:
    """Report pickles in a model's folder, and files that other users may change."""
    if pickles := sorted(path.name for path in folder.rglob("*") if path.suffix in PICKLES):
        advice = "they run code when they are read, so they never are: bring safetensors where nothing else is there"
        yield warn("weights", f"{model} has pickles ({', '.join(pickles[:3])}), which are refused", advice)
    looked = unchangeable("weights", [folder], user)
    if looked.advice:
        yield looked


def safe_files(model: ModelSpec, user: int) -> Iterator[Finding]:
    """Report files of parts and local adapters that other users may change."""
    paths = [Path(adapter.source) for adapter in model.adapters if is_folder(adapter.source)]
    paths += part_files.paths(model.parts).values()
    looked = unchangeable("weights", [path for path in paths if path.exists()], user)
    if looked.advice:
        yield looked
