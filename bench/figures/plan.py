"""The time of `framegate plan`, and planned bytes against loaded ones."""

import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from bench.tools.layout import write_safetensors
from bench.tools.table import Figure, Row
from nano.family import RECIPES, link_family
from plugins.diffusers_backend.load import DiffusersPlacement
from plugins.diffusers_backend.options import DiffusersOptions, Options
from plugins.wan import checkpoint
from plugins.wan.plans.known_parts import KnownModel, KnownPart, of
from plugins.wan.plans.part_bytes import Formats
from plugins.wan.tuning.switches import Switches
from registry import ModelSpec, families
from registry.folders import weights_in
from registry.folders.expected import expected
from registry.loader import load_one
from registry.published import parts_of
from router.engine.parts import size_of
from router.plugins import Plugins, find

RUNS = 9
LARGE = "wan2.1-t2v-1.3b"
FORMS: tuple[Mapping[str, str], ...] = (
    {},
    {"dtype": "bf16"},
    {"dtype": "fp16"},
    {"weights": "fp8"},
    {"weights": "int8"},
)
MOST = 1.0  # %


def measure() -> Figure:
    with tempfile.TemporaryDirectory() as folder:
        seconds = sorted(_command(Path(folder, "data")) for _ in range(RUNS))
        rows = [
            Row("the shipped models file, --memory 24GB, median", statistics.median(seconds), "s", 1.0),
            Row("framegate --version beside it, median", statistics.median(_version() for _ in range(RUNS)), "s"),
            Row(
                "Wan Nano: largest difference of planned from loaded bytes", max(_nano(Path(folder, "nano"))), "%", MOST
            ),
            *_large(Path(folder, "large")),
        ]
    forms = ", ".join(" ".join(each.values()) or "as the files have them" for each in FORMS)
    notes = (f"{RUNS} processes; Wan Nano's three models, each {forms}", "1.3B: a transformer by the published shapes")
    return Figure("plan", "framegate plan, and how far its bytes are from those that load", tuple(rows), notes)


def _command(data: Path) -> float:
    return _timed("plan", "--memory", "24GB", "--data", str(data))


def _version() -> float:
    return _timed("--version")


def _timed(*arguments: str) -> float:
    command = [sys.executable, "-c", "from router.cli.main import main; main()", *arguments]
    start = time.perf_counter()
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL, env=os.environ)
    return time.perf_counter() - start


def _nano(folder: Path) -> Iterator[float]:
    """Yield the difference, in percent, of each model in each form."""
    link_family(folder)
    plugins = Plugins(find([]))
    for name in RECIPES:
        (model,) = load_one(str(folder / name), "diffusers", plugins.known).models
        for form in FORMS:
            here = replace(model, folder=folder / name, options={**model.options, **form})
            plan = plugins.plan(here, "cpu")
            yield 100.0 if plan is None else _apart(plan.device_bytes, _loaded(here))


def _loaded(model: ModelSpec) -> int:
    assert model.folder is not None
    placement = _placement(dict(model.options))
    parts = checkpoint.read(model.folder).pooled(model.modality)
    return sum(size_of(placement.read(part, lambda size: None)) for part in parts)


def _placement(options: Mapping[str, Any]) -> DiffusersPlacement:
    known = {name: value for name, value in options.items() if name != "fast"}
    loaded = {**DiffusersOptions().load(known), "fast": Switches()}
    return DiffusersPlacement.of(Options(**loaded), "cpu")


def _large(folder: Path) -> Iterator[Row]:
    """Load holes of 1.3B's true size, and compare with the published shapes."""
    published = parts_of(LARGE, 1)["transformer"]
    shapes = dict(expected("transformer", published.settings))
    folder.mkdir()
    write_safetensors(folder / "diffusion_pytorch_model.safetensors", shapes, "F32")
    weights = weights_in(folder, "transformer")
    part = checkpoint.Part("transformer", folder, "diffusers", published.class_name, published.settings, weights)
    planned = _published_transformer()
    for form in ("auto", "fp8"):
        held = size_of(_placement({"dtype": "bf16", "weights": form}).read(part, lambda size: None))
        known = planned.sizes(Formats("bf16", "bf16", form)).total
        what = "bf16" if form == "auto" else form
        yield Row(
            f"1.3B's transformer in {what}: difference of planned from loaded bytes", _apart(known, held), "%", MOST
        )


def _published_transformer() -> KnownPart:
    family = families.find(LARGE)
    assert family is not None
    (model,) = load_one(family.source, "diffusers", Plugins(find([])).known).models
    known: KnownModel | None = of(model)
    assert known is not None
    return next(part for part in known.parts if part.is_transformer)


def _apart(planned: float, loaded: float) -> float:
    return abs(planned / loaded - 1) * 100
