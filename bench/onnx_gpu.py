"""A forward pass of a DiT of a published size on a GPU: ONNX Runtime beside eager and compiled PyTorch."""

from __future__ import annotations

import math
import os
import re
import statistics
import tempfile
from collections.abc import Callable, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from bench.export import wan_1_3b, write_random
from bench.table import Figure, Row

DEVICE = "cuda:0"
ROUNDS = 5
SIDE = 8192  # of the matrices whose product is the measure of the card
WAN_5B = {
    "num_attention_heads": 24,
    "attention_head_dim": 128,
    "ffn_dim": 14336,
    "num_layers": 30,
    "in_channels": 48,
    "out_channels": 48,
    "text_dim": 4096,
    "freq_dim": 256,
}
# latents of 832x480 and 81 frames: frames, height, width
MODELS = {"1.3B": (wan_1_3b(), (21, 60, 104)), "5B": (WAN_5B, (21, 30, 52))}
TEXT = 512
KERNEL = re.compile(r"SdpaKernel\W+(\w+)")  # what ORT_ENABLE_ATTENTION_KERNEL_DEBUG_INFO prints


def measure() -> Figure | None:
    import torch

    if not torch.cuda.is_available():
        return None
    os.environ["ORT_ENABLE_ATTENTION_KERNEL_DEBUG_INFO"] = "1"
    rows: list[Row] = []
    with tempfile.TemporaryDirectory() as folder, torch.inference_mode():
        for name, (config, shape) in MODELS.items():
            rows += _model(Path(folder) / name, name, config, shape)
            torch.cuda.empty_cache()
    return Figure(
        "onnx_gpu",
        "one DiT forward at 832x480 and 81 frames, bf16, random weights",
        tuple(rows),
        (
            f"medians of {ROUNDS} rounds, in turns; {torch.cuda.get_device_name()}, PyTorch {torch.__version__}",
            f"rate: FLOP of the model a second, of those of a product of {SIDE} x {SIDE} bf16 matrices in each round",
        ),
    )


def _model(folder: Path, name: str, config: dict[str, Any], shape: tuple[int, int, int]) -> list[Row]:
    import torch
    from diffusers import WanTransformer3DModel

    from plugins.diffusers_backend.device import attention_for
    from plugins.onnx_backend.export.folder import Source, export
    from plugins.onnx_backend.load import read_transformer

    folder.mkdir()
    write_random(folder / "source", config)
    export(Source(folder / "source", "random", None), folder / "export", "bf16", lambda *_: None)
    weights = folder / "export" / "transformer"
    eager = WanTransformer3DModel.from_pretrained(weights, dtype=torch.bfloat16, device_map=DEVICE)
    compiled = WanTransformer3DModel.from_pretrained(weights, dtype=torch.bfloat16, device_map=DEVICE)
    for model in (eager, compiled):
        model.set_attention_backend(attention_for("auto", DEVICE, torch.bfloat16))
    compiled.compile_repeated_blocks(fullgraph=True, dynamic=False)
    graph = read_transformer(weights, torch.bfloat16, "cuda", DEVICE)
    made = torch.Generator().manual_seed(1)
    given = (
        torch.randn(1, config["in_channels"], *shape, generator=made).to(DEVICE, torch.bfloat16),
        torch.tensor([500], device=DEVICE),
        torch.randn(1, TEXT, config["text_dim"], generator=made).to(DEVICE, torch.bfloat16),
    )
    with _captured() as said:
        (got,) = graph(*given)
    kernels = sorted(set(KERNEL.findall(said()))) or ["unknown"]
    expected = eager(*given, return_dict=False)[0].float()
    square = torch.randn(SIDE, SIDE, device=DEVICE, dtype=torch.bfloat16)
    runners = {"PyTorch eager": eager, "PyTorch compiled": compiled, "ONNX Runtime": graph}
    taken = _interleaved(
        {
            "product": lambda: square @ square,
            **{name: lambda run=run: run(*given, return_dict=False) for name, run in runners.items()},
        }
    )
    rate = 2 * SIDE**3 / taken["product"]
    flop = flop_of(config, shape)
    rows = [Row(f"{name}: a bf16 product's rate", rate / 1e12, "TFLOP/s")]
    for runner in runners:
        rows.append(Row(f"{name}: {runner}", 1000 * taken[runner], "ms"))
        rows.append(Row(f"{name}: {runner}, of that rate", 100 * flop / taken[runner] / rate, "%"))
    error = float((got.float() - expected).norm() / expected.norm())
    rows.append(Row(f"{name}: difference of ONNX Runtime from eager, attention by {'+'.join(kernels)}", error))
    return rows


def flop_of(config: Mapping[str, Any], shape: tuple[int, int, int]) -> float:
    """Return the floating-point operations of one forward pass."""
    tokens = math.prod(shape) // 4
    width = config["num_attention_heads"] * config["attention_head_dim"]
    blocks, wide = config["num_layers"], config["ffn_dim"]
    linear = 2 * tokens * blocks * (6 * width**2 + 2 * width * wide) + 4 * blocks * width**2 * TEXT
    return linear + 4 * tokens**2 * width * blocks + 4 * tokens * TEXT * width * blocks


def _interleaved(runs: Mapping[str, Callable[[], object]]) -> dict[str, float]:
    """Return the median seconds of each on the card, taken in turns."""
    import torch

    taken: dict[str, list[float]] = {name: [] for name in runs}
    for _ in range(ROUNDS + 2):
        for name, run in runs.items():
            start, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
            torch.cuda.synchronize()
            start.record()
            run()
            end.record()
            end.synchronize()
            taken[name].append(start.elapsed_time(end) / 1000)
    return {name: statistics.median(seconds[2:]) for name, seconds in taken.items()}


@contextmanager
def _captured() -> Any:
    """Catch what C++ code writes to standard output and error; the value returned tells it."""
    with tempfile.TemporaryFile() as file:
        kept = os.dup(1), os.dup(2)
        for number in (1, 2):
            os.dup2(file.fileno(), number)
        said = ""

        def tell() -> str:
            return said

        try:
            yield tell
        finally:
            for number, old in zip((1, 2), kept, strict=True):
                os.dup2(old, number)
                os.close(old)
            file.seek(0)
            said = file.read().decode(errors="replace")
