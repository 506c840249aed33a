"""What the numbers of a job depend on, by the options of its model."""

from plugins.diffusers_backend.options import Options
from plugins.wan.merged import merged_in
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
    return Numerics(not may_vary_with, tuple(f"adapter {name}" for name in adapters), may_vary_with)
