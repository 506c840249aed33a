"""The rate of weights to a GPU, from a file and from the host."""

from __future__ import annotations

import json
import statistics
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from bench.card.shapes import WAN_1_3B, WAN_5B
from bench.figures.export import write_random
from bench.tools.table import Figure, Row

DEVICE = "cuda:0"
ROUNDS = 5
BUFFER = 2**30  # bytes of the copy that measures the bus
MODELS: Mapping[str, dict[str, Any]] = {"1.3B": WAN_1_3B, "5B": WAN_5B}


def measure() -> Figure | None:
    import torch

    if not torch.cuda.is_available():
        return None
    return measured(DEVICE, MODELS, BUFFER, f"{torch.cuda.get_device_name()}, PyTorch {torch.__version__}")


def measured(device: str, models: Mapping[str, dict[str, Any]], buffer: int, machine: str) -> Figure:
    """Return the figure for transformers of these configurations."""
    rows: list[Row] = []
    for name, config in models.items():
        with tempfile.TemporaryDirectory() as folder:
            write_random(Path(folder) / "source", config)
            rows += _model(Path(folder) / "source", name, device, buffer)
    return Figure(
        "copies",
        "a DiT's weights, bf16, from a file and from the host's memory to the device",
        tuple(rows),
        (
            f"medians of {ROUNDS} rounds, in turns; {machine}",
            f"the bus: {buffer / 2**20:.0f} MiB of page-locked memory in one copy; the file was in the page cache",
        ),
    )


def _config(source: Path) -> dict[str, Any]:
    return json.loads((source / "transformer" / "config.json").read_text())  # type: ignore[no-any-return]


def _model(source: Path, name: str, device: str, buffer: int) -> list[Row]:
    import torch

    from plugins.wan.checkpoint import Part
    from plugins.wan.tuning.switches import OFF
    from plugins.wan.weights.host_offload import HostOffloader
    from plugins.wan.weights.placement import Placement
    from registry.folders import weights_in

    weights = weights_in(source / "transformer", "transformer")
    part = Part("transformer", source / "transformer", "diffusers", "WanTransformer3DModel", _config(source), weights)
    placement, offloader = Placement(device, torch.bfloat16, OFF), HostOffloader(device)
    here = torch.empty(buffer, dtype=torch.uint8, pin_memory=device != "cpu")
    there = torch.empty(buffer, dtype=torch.uint8, device=device)
    taken: dict[str, list[float]] = {"bus": [], "read": [], "cool": [], "warm": []}
    for _ in range(ROUNDS):
        taken["bus"].append(_seconds(device, lambda: there.copy_(here, non_blocking=True)))
        module: Any = None  # free the last module before reading the next
        start = time.perf_counter()
        module = placement.read(part, lambda size: None)
        taken["read"].append(time.perf_counter() - start)
        for way, move in (("cool", offloader.cool), ("warm", offloader.warm)):
            taken[way].append(_seconds(device, partial(move, module)))
    return _rows(name, taken, sum(parameter.nbytes for parameter in module.parameters()), buffer)


def _rows(name: str, taken: Mapping[str, Sequence[float]], size: int, buffer: int) -> list[Row]:
    middle = {what: statistics.median(seconds) for what, seconds in taken.items()}
    bus = buffer / middle["bus"]
    return [
        Row(f"{name}: the bus", bus / 1e9, "GB/s"),
        Row(f"{name}: weights", size / 1e9, "GB"),
        Row(f"{name}: cold, from a file", size / middle["read"] / 1e9, "GB/s"),
        Row(f"{name}: to the host, the first time", size / taken["cool"][0] / 1e9, "GB/s"),
        Row(f"{name}: to the host", size / middle["cool"] / 1e9, "GB/s"),
        Row(f"{name}: warm, from the host", 1000 * middle["warm"], "ms"),
        Row(f"{name}: warm, rate", size / middle["warm"] / 1e9, "GB/s"),
        Row(f"{name}: warm / what the bus alone would take", middle["warm"] * bus / size, "", 1.25),
    ]


def _seconds(device: str, run: Callable[[], object]) -> float:
    import torch

    start = time.perf_counter()
    run()
    if device != "cpu":
        torch.cuda.synchronize(device)
    return time.perf_counter() - start
