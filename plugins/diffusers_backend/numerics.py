"""What the numbers of a job depend on, by the options of its model."""

from plugins.diffusers_backend.options import Options
from plugins.wan.merged import merged_in, rounded_in
from plugins.wan.stored_codes import codes_in
from plugins.wan.weights.device_format import AUTO, FP8, INT8
from registry.folders.dtypes import BLOCKS
from router import ModelSpec, Numerics, Task


def describe(model: ModelSpec, task: Task) -> Numerics:
    options = Options.of(model)
    fast, is_auto = options.fast, options.attention == "auto"
    # each is a choice of our own forward pass, without which none of them runs
    choices = {
        "compile": fast.compile,
        "measured_attention": fast.measured_attention and is_auto,  # a backend that was chosen needs no measurement
        "gelu_epilogue": fast.gelu_epilogue,
    }
    may_vary_with = tuple(name for name, on in choices.items() if on and fast.transformer)
    adapters = dict.fromkeys((*merged_in(model), *(used.name for used in task.adapters)))
    lossy = (*_weights(model, options), *(f"adapter {name}" for name in adapters))
    return Numerics(not may_vary_with, lossy, may_vary_with)


def _weights(model: ModelSpec, options: Options) -> tuple[str, ...]:
    """Return the formats of weights, and of products, that round the model's own numbers."""
    found, codes = [], codes_in(model)
    for part, formats in (*rounded_in(model).items(), *codes.items()):
        what = "weights" if part.startswith("transformer") else part.replace("_", " ")
        found += [f"{what} {form}" for form in formats]
    found += [f"weights {options.weights}"] if options.weights in (FP8, INT8) else []
    blocks = [form for part, formats in codes.items() if part.startswith("transformer") for form in formats]
    if model.merged and options.weights == AUTO and not BLOCKS.keys().isdisjoint(blocks):
        found.append(f"weights {INT8}")  # GGUF's numbers with merged adapters
    found += ["matmul fp8"] if options.matmul == FP8 else []
    return tuple(dict.fromkeys(found))
