"""A system whose models have adapters."""

from dataclasses import replace
from pathlib import Path

from registry import Adapter, FlowShift, ModelSpec, PerExpert, Registry, Route
from router.catalog.revisions import Registries
from router.jobs import RevisionStore, open_database
from router.system import System

NO_TENSORS = (2).to_bytes(8, "little") + b"{}"  # a safetensors file
FAST4 = {"steps": 2, "guidance_scale": 1.0, "guidance_scale_2": 1.0, "flow_shift": FlowShift(5.0, 5.0)}


def adapter(folder: Path, name: str, **fields: object) -> Adapter:
    """Return an adapter whose source is a file without tensors."""
    file = folder / f"{name}.safetensors"
    file.write_bytes(NO_TENSORS)
    return replace(Adapter(name, str(file), PerExpert("", "")), **fields)


def with_adapters(system: System, folder: Path) -> System:
    """Return the system with adapters for its models.

    `text`, of two experts, has fast4, noir, slow and style, and none by default; `usual` uses fast4 by default, `merged`
    always; `both`, of one expert, has noir. `image` and `far` have none. The route `some` is `image`, `text`, `far`.
    """
    models = {model.name: model for model in system.registries.poll().models}
    fast4, noir = adapter(folder, "fast4", defaults=FAST4), adapter(folder, "noir", strength=PerExpert(0.8, 0.8))
    slow = adapter(folder, "slow", defaults={"steps": 9, "frames_per_second": 4})
    style = adapter(folder, "style", strength=PerExpert(3.0, 1.5))
    text = replace(models["text"], experts=2, adapters=(fast4, noir, slow, style))
    added: dict[str, ModelSpec] = {
        "text": text,
        "usual": replace(text, name="usual", aliases=(), default_adapters=("fast4",)),
        "merged": replace(text, name="merged", aliases=(), adapters=(noir, replace(fast4, merge=True))),
        "both": replace(models["both"], adapters=(noir,)),
    }
    registry = Registry(tuple((models | added).values()), (Route("some", ("image", "text")),), default="text")
    database = open_database(system.settings.data / "jobs.sqlite")
    return replace(system, registries=Registries(RevisionStore(database), system.plugins.known, registry))
