"""`framegate export`: write the folder that this backend runs."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

import click

from plugins.onnx_backend.record import DTYPES
from plugins.wan.new_folder import require_free
from plugins.wan.progress_bars import bars
from registry import FlowShift, ModelSpec
from registry.adapters import STRENGTH
from router import Adapter, LoadFailed, UsedAdapter

EXPORTER = "onnxscript"
CONVERT = "'framegate convert MODEL --weights bf16 -o FOLDER' makes one folder of all, which can be exported"


@click.command()
@click.argument("model")
@click.option("-o", "target", required=True, type=click.Path(path_type=Path), help="The folder to write: new or empty.")
@click.option(
    "--dtype",
    type=click.Choice(DTYPES),
    help="The number format of the graphs and their weights. [bf16 where there is a GPU, else fp32]",
)
@click.option(
    "--adapter",
    "adapters",
    multiple=True,
    metavar="NAME[=STRENGTH]",
    help="An adapter of the model's entry, to be merged into the weights. Several add up.",
)
@click.pass_obj
def export(
    find: Callable[[str], ModelSpec], model: str, target: Path, dtype: str | None, adapters: tuple[str, ...]
) -> None:
    """Make a folder of graphs that the backend onnxruntime runs.

    MODEL is a name from the models file, a hub id whose weights are on this machine, or a folder. The result is a whole
    model: the backend diffusers runs it too.
    """
    spec = find(model)
    if spec.folder is None:
        raise LoadFailed(f"{spec.name} has no weights, so there is nothing to export")
    if spec.parts:
        raise LoadFailed(f"{spec.name} has files of its own for {', '.join(spec.parts)}: {CONVERT}")
    require_free(target)
    merged = _adapters(spec, adapters)
    _require_exporter()
    import torch

    from plugins.onnx_backend.export.folder import Source, export
    from plugins.wan.weights.adapters.merge import MergedAdapters

    dtype = dtype or ("bf16" if torch.cuda.is_available() else "fp32")
    snapshot = spec.folder.parent.name == "snapshots"
    revision = spec.folder.name if snapshot else None
    source = Source(spec.folder, spec.source or spec.name, revision, MergedAdapters(merged))
    with bars() as progress:
        export(source, target, dtype, progress)
    size = sum(path.stat().st_size for path in target.rglob("*") if path.is_file())
    click.echo(f"{target}: {spec.name} in {dtype}, {size / 1e9:.2f} GB")
    click.echo("In the models file:\n\n" + "\n".join(f"  {line}" for line in _entry(spec, target, merged)))


def _adapters(spec: ModelSpec, wanted: Iterable[str]) -> tuple[tuple[Adapter, UsedAdapter], ...]:
    """Return the adapters to merge: those of the model, and the wanted ones."""
    by_name = {each.name: each for each in spec.adapters}
    found = {each.name: (each, UsedAdapter(each.name, *each.strength)) for each in spec.adapters if each.merge}
    for text in wanted:
        name, _, strength = text.partition("=")
        if (adapter := by_name.get(name)) is None:
            known = ", ".join(by_name) or "none"
            raise click.BadParameter(f"{spec.name} has the adapters {known}, got {name}", param_hint="--adapter")
        if name in found:
            raise click.BadParameter(f"{name} is merged already", param_hint="--adapter")
        found[name] = adapter, UsedAdapter(name, *(_strengths(strength) if strength else adapter.strength))
    return tuple(found.values())


def _strengths(text: str) -> tuple[float, float]:
    try:
        strength = float(text)
    except ValueError:
        strength = math.nan
    if not STRENGTH.number(strength) or not strength:
        message = f"a strength is a number {STRENGTH} other than 0, got {text}"
        raise click.BadParameter(message, param_hint="--adapter")
    return strength, strength


def _entry(spec: ModelSpec, target: Path, merged: Iterable[tuple[Adapter, UsedAdapter]]) -> Iterator[str]:
    """Yield the lines of the entry in a models file."""
    yield f"{spec.name}-onnx:"
    yield f"  source: {target.absolute()}"
    yield "  backend: onnxruntime"
    if spec.family:
        yield f"  family: {spec.family}"
    defaults: dict[str, object] = {}
    for adapter, _ in merged:
        defaults |= adapter.defaults
    if spec.experts > 1 and "guidance_scale" in defaults:
        defaults.setdefault("guidance_scale_2", defaults["guidance_scale"])  # as in requests: the second follows
    if defaults:
        yield f"  defaults: {{{', '.join(f'{name}: {_plain(value)}' for name, value in defaults.items())}}}"


def _plain(value: object) -> str:
    if isinstance(value, FlowShift):
        return str(value.small) if value.small == value.large else f"{{small: {value.small}, large: {value.large}}}"
    return json.dumps(value)


def _require_exporter() -> None:
    import importlib.util

    if importlib.util.find_spec(EXPORTER) is None:
        raise LoadFailed(f"exporting needs {EXPORTER}: pip install 'framegate[onnx]' brings it")
