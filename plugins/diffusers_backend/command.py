"""`framegate convert`: write a model's weights in another format."""

from collections.abc import Callable
from pathlib import Path

import click

from plugins.wan.new_folder import require_free
from plugins.wan.progress_bars import bars
from plugins.wan.weights.device_format import FP8, INT8
from registry import ModelSpec
from router import LoadFailed

FORMATS = (FP8, INT8, "bf16", "fp16", "fp32")


@click.command()
@click.argument("model")
@click.option("-o", "target", required=True, type=click.Path(path_type=Path), help="The folder to write: new or empty.")
@click.option("--weights", required=True, type=click.Choice(FORMATS), help="The format of the transformers' weights.")
@click.pass_obj
def convert(find: Callable[[str], ModelSpec], model: str, target: Path, weights: str) -> None:
    """Write a model's weights in another format, once.

    MODEL is a name from the models file, a hub id whose weights are on this machine, or a folder. The result is a whole
    folder in the diffusers layout, also of a model whose parts are files of their own; adapters with `merge: true` are
    merged. fp8 and int8 have half the bytes of bf16 and are for this program; others read the number formats.
    """
    spec = find(model)
    if spec.folder is None:
        raise LoadFailed(f"{spec.name} has no weights, so there is nothing to convert")
    require_free(target)
    from plugins.diffusers_backend.convert import Conversion
    from plugins.wan import checkpoint
    from plugins.wan.weights.adapters.merge import MergedAdapters

    adapters = MergedAdapters.of(tuple(each for each in spec.adapters if each.merge))
    with bars() as progress:
        Conversion(checkpoint.read(spec.folder, spec.parts), adapters, weights).write(target, progress)
    size = sum(path.stat().st_size for path in target.rglob("*") if path.is_file())
    click.echo(f"{target}: {spec.name} with weights in {weights}, {size / 1e9:.2f} GB")
    lines = [f"{spec.name}-{weights}:", f"  source: {target.absolute()}", "  backend: diffusers"]
    lines += [f"  family: {spec.family}"] if spec.family else []
    click.echo("In the models file:\n\n" + "\n".join(f"  {line}" for line in lines))
