"""A DiT's forward pass at true size on a GPU: ONNX Runtime and PyTorch."""

import os
import re
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from diffusers import WanTransformer3DModel

from bench.card import clock as clocks
from bench.card.accuracy import relative_error
from bench.card.clock import Clock
from bench.card.shapes import NO_FIGURES, TEXT_TOKENS, TOY, WAN_1_3B, WAN_5B, Dit
from bench.figures.export import write_random
from bench.tools.table import Figure, Row
from plugins.diffusers_backend.attention_backend import attention_for
from plugins.onnx_backend.export.folder import Source, export
from plugins.onnx_backend.load import read_transformer
from plugins.wan.weights.placement import DTYPES

DEVICE = "cuda:0"
ROUNDS = 5
MODELS = {"1.3B": Dit(WAN_1_3B, (21, 60, 104), 0), "5B": Dit(WAN_5B, (21, 30, 52), 0)}  # 832x480, 81 frames
KERNEL = re.compile(r"SdpaKernel\W+(\w+)")  # in the output of ORT_ENABLE_ATTENTION_KERNEL_DEBUG_INFO


def measure() -> Figure | None:
    if not torch.cuda.is_available():
        return None
    os.environ["ORT_ENABLE_ATTENTION_KERNEL_DEBUG_INFO"] = "1"
    clock, rows = Clock(DEVICE, rounds=ROUNDS), list[Row]()
    for name, dit in MODELS.items():
        rows += _model(name, dit, "bf16", clock)
        torch.cuda.empty_cache()  # ONNX Runtime cannot use memory that PyTorch keeps
    return Figure(
        "onnx_gpu",
        "one DiT forward at 832x480 and 81 frames, bf16, random weights",
        tuple(rows),
        (
            f"medians of {ROUNDS} rounds, in turns; {torch.cuda.get_device_name()}, PyTorch {torch.__version__}",
            f"rate: FLOP of the model a second, of those of products of {clock.side} x {clock.side} bf16 matrices "
            "before, between and after the rounds",
        ),
    )


def toy() -> Figure:
    """Return the figure at toy size, to check the code; its numbers mean nothing."""
    return Figure("onnx_gpu", NO_FIGURES, tuple(_model("toy", TOY.dits["toy"], "fp32", clocks.TOY)))


def _model(name: str, dit: Dit, dtype: str, clock: Clock) -> Iterator[Row]:
    with tempfile.TemporaryDirectory() as folder, torch.inference_mode():
        inputs = _inputs(dit, dtype, clock.device)
        passes = _passes(Path(folder), dit, dtype, clock.device)
        with _captured() as output:
            (got,) = passes["ONNX Runtime"](*inputs)
        kernels = sorted(set(KERNEL.findall(output()))) or ["unknown"]
        (expected,) = passes["PyTorch eager"](*inputs, return_dict=False)
        runs = {who: lambda run=run: run(*inputs, return_dict=False) for who, run in passes.items()}
        for run in runs.values():
            run(), run()
        rounds = clock.compared(runs)
    yield Row(f"{name}: a bf16 product's rate", rounds.rate / 1e12, "TFLOP/s")
    for who, seconds in rounds.seconds.items():
        yield Row(f"{name}: {who}", 1000 * seconds, "ms")
        yield Row(f"{name}: {who}, of that rate", 100 * dit.flop / seconds / rounds.rate, "%")
    error = relative_error(got, expected)
    yield Row(f"{name}: difference of ONNX Runtime from eager, attention by {'+'.join(kernels)}", error)


def _inputs(dit: Dit, dtype: str, device: str) -> tuple[Any, ...]:
    made = torch.Generator().manual_seed(1)
    latents = torch.randn(1, dit.config["in_channels"], *dit.latents, generator=made)
    text = torch.randn(1, TEXT_TOKENS, dit.config["text_dim"], generator=made)
    return latents.to(device, DTYPES[dtype]), torch.tensor([500], device=device), text.to(device, DTYPES[dtype])


def _passes(folder: Path, dit: Dit, dtype: str, device: str) -> dict[str, Callable[..., Any]]:
    write_random(folder / "source", dict(dit.config))
    export(Source(folder / "source", "random", None), folder / "export", dtype, lambda *_: None)
    weights = folder / "export" / "transformer"
    eager, compiled = (
        WanTransformer3DModel.from_pretrained(weights, dtype=DTYPES[dtype], device_map=device) for _ in range(2)
    )
    for model in (eager, compiled):
        model.set_attention_backend(attention_for("auto", device, DTYPES[dtype]))
    compiled.compile_repeated_blocks(fullgraph=True, dynamic=False)
    graph = read_transformer(weights, DTYPES[dtype], device.partition(":")[0], device)
    return {"PyTorch eager": eager, "PyTorch compiled": compiled, "ONNX Runtime": graph}


@contextmanager
def _captured() -> Any:
    """Capture the output of C++ code; yield a function that returns it afterwards."""
    with tempfile.TemporaryFile() as file:
        kept = os.dup(1), os.dup(2)
        for number in (1, 2):
            os.dup2(file.fileno(), number)
        text = ""
        try:
            yield lambda: text
        finally:
            for number, old in zip((1, 2), kept, strict=True):
                os.dup2(old, number)
                os.close(old)
            file.seek(0)
            text = file.read().decode(errors="replace")
