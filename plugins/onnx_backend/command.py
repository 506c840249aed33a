"""`framegate export`: write the folder that this backend runs."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import click

from plugins.onnx_backend.record import DTYPES
from registry import ModelSpec
from router import LoadFailed

if TYPE_CHECKING:
    from click._termui_impl import ProgressBar

    from plugins.onnx_backend.export.folder import Progress

EXPORTER = "onnxscript"


@click.command()
@click.argument("model")
@click.option("-o", "target", required=True, type=click.Path(path_type=Path), help="The folder to write: new or empty.")
@click.option(
    "--dtype",
    type=click.Choice(DTYPES),
    help="The number format of the graphs and their weights. [bf16 where there is a GPU, else fp32]",
)
@click.pass_obj
def export(find: Callable[[str], ModelSpec], model: str, target: Path, dtype: str | None) -> None:
    """Make a folder of graphs that the backend onnxruntime runs.

    MODEL is a name from the models file, a hub id whose weights are on this machine, or a folder. The result is a whole
    model: the backend diffusers runs it too.
    """
    spec = find(model)
    if spec.folder is None:
        raise LoadFailed(f"{spec.name} has no weights, so there is nothing to export")
    _require_exporter()
    import torch

    from plugins.onnx_backend.export.folder import Source, export

    dtype = dtype or ("bf16" if torch.cuda.is_available() else "fp32")
    snapshot = spec.folder.parent.name == "snapshots"
    source = Source(spec.folder, spec.source or spec.name, spec.folder.name if snapshot else None)
    with _bars() as progress:
        export(source, target, dtype, progress)
    size = sum(path.stat().st_size for path in target.rglob("*") if path.is_file())
    click.echo(f"{target}: {spec.name} in {dtype}, {size / 1e9:.2f} GB")
    click.echo(
        f"In the models file:\n\n  {spec.name}-onnx:\n    source: {target.absolute()}\n    backend: onnxruntime"
        + (f"\n    family: {spec.family}" if spec.family else "")
    )


def _require_exporter() -> None:
    import importlib.util

    if importlib.util.find_spec(EXPORTER) is None:
        raise LoadFailed(f"exporting needs {EXPORTER}: pip install 'framegate[onnx]' brings it")


@contextmanager
def _bars() -> Iterator[Progress]:
    stage = ""
    bar: ProgressBar[int] | None = None
    with ExitStack() as shown:

        def progress(doing: str, done: int, total: int) -> None:
            nonlocal stage, bar
            if bar is None or doing != stage:
                shown.close()
                stage, bar = doing, shown.enter_context(click.progressbar(length=max(total, 1), label=doing.ljust(36)))
            bar.update(done - bar.pos)

        yield progress
