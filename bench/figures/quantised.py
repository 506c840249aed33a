"""Weights in codes: bytes, loading, a forward pass, and the videos."""

import json
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from diffusers import WanTransformer3DModel
from safetensors.torch import save_file

from bench.figures.fast import loader
from bench.tools.gguf_files import write_blocks, write_dense, write_gguf
from bench.tools.quantised import quantise_blocks
from bench.tools.table import Figure, Row
from bench.tools.videos import Videos, psnr
from plugins.diffusers_backend.dit.network import Network
from plugins.diffusers_backend.dit.timestep_embedding import embed_timesteps
from plugins.wan.tuning.switches import Switches
from plugins.wan.weights.device_format import FP8, INT8
from plugins.wan.weights.modules import kept_in_fp32
from registry.parts import PartFile

ROUNDS = 7
CLIPS, STEPS = 20, 24
MODEL, EXPERTS = "wan-nano-t2v", ("transformer", "transformer_2")
LEAST_PSNR = {FP8: 40.0, INT8: 48.0, "Q8_0": 50.0}
MOST_APART = 1.0  # dB, of Q4_0 from gguf's own dequantisation
MOST_SHARE = 0.53  # of the bytes in bf16
MOST_TIME, MOST_FORWARD = 1.3, 1.25  # of a load, and of a forward pass, in bf16
MOST_PEAK = 1.0  # GB beyond 1.05 times the result
SHAPE = {"num_attention_heads": 12, "ffn_dim": 8960, "num_layers": 30}  # Wan2.1-T2V-1.3B
LATENT = (3, 30, 52)  # frames, height, width


def measure() -> Figure:
    with tempfile.TemporaryDirectory() as folder:
        rows = [*_loading(Path(folder)), *_videos(Path(folder)), *_forward()]
    return Figure(
        "quantised",
        "weights in codes: bytes, loading, a forward pass, and the videos of Wan Nano",
        tuple(rows),
        (
            f"loading: a transformer of 1.3B's true size from a file in fp32, in turns; medians of {ROUNDS} processes",
            f"a forward pass: 2 blocks of 1.3B's shape, 1,170 tokens, bf16, on {torch.get_num_threads()} threads",
            f"videos: {MODEL} in fp32, {CLIPS} held-out prompts, {STEPS} steps; the mean of the clips' PSNR",
        ),
    )


LOAD = """
import json, sys, time
from dataclasses import replace
from pathlib import Path
import torch
from plugins.diffusers_backend.load import DiffusersPlacement
from plugins.diffusers_backend.options import DiffusersOptions, Options
from plugins.wan import checkpoint
from plugins.wan.tuning.switches import OFF
from registry.folders import single_file, weights_in
from router.engine.memory_use import own_bytes
from router.engine.parts import size_of
folder, weights, file = sys.argv[1:]
part = checkpoint.Part("transformer", Path(folder), "diffusers", "WanTransformer3DModel",
                       json.loads(Path(folder, "config.json").read_text()), None)
weights_of = single_file.read(Path(file), part)[0] if file else weights_in(Path(folder), "transformer")
part = replace(part, weights=weights_of)
placement = DiffusersPlacement("cpu", torch.bfloat16, OFF, weights=weights)
before = own_bytes()
Path("/proc/self/clear_refs").write_text("5")
start = time.perf_counter()
loaded = placement.read(part, lambda size: None)
seconds = time.perf_counter() - start
peak = next(int(line.split()[1]) * 1024 for line in Path("/proc/self/status").read_text().splitlines()
            if line.startswith("VmHWM"))
print(json.dumps([seconds, peak - before, size_of(loaded), placement.device_bytes(part)]))
"""


def _loading(folder: Path) -> list[Row]:
    """Return the time, peak and bytes of loads, each in a new process."""
    target = folder / "transformer"
    _write_large(target)
    found: dict[str, list[list[float]]] = {"auto": [], FP8: [], INT8: []}
    for number in range(ROUNDS + 1):
        for weights, taken in found.items():
            taken += [_load(target, weights)] if number else []
    seconds, _, whole, planned = (statistics.median(each) for each in zip(*found["auto"], strict=True))
    rows = [Row("loading 1.3B's transformer, fp32 to bf16", seconds, "s"), _planned("bf16", planned, whole)]
    for weights in (FP8, INT8):
        taken, peak, held, planned = (statistics.median(each) for each in zip(*found[weights], strict=True))
        rows += [
            Row(f"{weights} while loading, share of that time", taken / seconds, "", MOST_TIME),
            Row(f"{weights}: bytes resident, share of those in bf16", held / whole, "", MOST_SHARE, 0.5),
            Row(f"{weights}: peak beyond 1.05 times the result", (peak - 1.05 * held) / 1e9, "GB", MOST_PEAK),
            _planned(weights, planned, held),
        ]
    for kind in ("Q8_0", "Q4_K"):
        file = write_blocks(target, folder / f"{kind}.gguf", kind)
        taken, _, held, planned = _load(target, "auto", file)
        rows += [Row(f"a file in {kind}, share of the time of bf16", taken / seconds), _planned(kind, planned, held)]
    return rows


def _load(folder: Path, weights: str, file: str = "") -> list[float]:
    """Return the seconds, and the peak, held and planned bytes, of a load."""
    command = [sys.executable, "-c", LOAD, str(folder), weights, file]
    found: list[float] = json.loads(subprocess.check_output(command, text=True).splitlines()[-1])
    return found


def _planned(what: str, planned: float, held: float) -> Row:
    return Row(f"{what}: planned bytes, difference from those loaded", abs(planned / held - 1) * 100, "%", 1.0)


def _write_large(folder: Path) -> None:
    folder.mkdir()
    with torch.device("meta"):
        model = WanTransformer3DModel(**SHAPE)
    generator = torch.Generator().manual_seed(0)
    state = {
        name: torch.randn(weight.shape, generator=generator).div_(40) for name, weight in model.state_dict().items()
    }
    save_file(state, folder / "diffusion_pytorch_model.safetensors")
    model.save_config(folder)


def _videos(folder: Path) -> list[Row]:
    load = loader(folder, {MODEL: f"backend: diffusers, source: 'embedded:{MODEL}'"})
    videos, source = Videos(load, MODEL, CLIPS, STEPS), load(MODEL).model.folder
    plain = videos.make({})
    rows = []
    for weights in (FP8, INT8):
        made = videos.make({"weights": weights})
        rows.append(Row(f"{weights}: PSNR to plain weights", _mean(made, plain), "dB", least=LEAST_PSNR[weights]))
        again = videos.make({"weights": weights})
        differ = sum(not np.array_equal(*pair) for pair in zip(again, made, strict=True))
        rows.append(Row(f"{weights}: clips that differ when made again", differ, "", 1))
    for kind in ("Q8_0", "Q4_0"):
        files = {part: write_gguf(source / part, folder / f"{kind}-{part}.gguf", kind) for part in EXPERTS}
        made = videos.make({}, _parts(files))
        near = _mean(made, plain)
        rows.append(Row(f"{kind}: PSNR to plain weights", near, "dB", least=LEAST_PSNR.get(kind)))
        dense = {part: write_dense(files[part], folder / f"{kind}-{part}.safetensors") for part in EXPERTS}
        apart = abs(near - _mean(videos.make({}, _parts(dense)), plain))
        rows.append(Row(f"{kind}: difference from the PSNR by gguf's own numbers", apart, "dB", MOST_APART))
    return rows


def _parts(files: Mapping[str, str]) -> dict[str, PartFile]:
    return {part: PartFile(file) for part, file in files.items()}


def _mean(made: list[Any], plain: list[Any]) -> float:
    return statistics.mean(psnr(*pair) for pair in zip(made, plain, strict=True))


@torch.no_grad()
def _forward() -> list[Row]:
    """Return the times of a forward pass with weights in codes, all measured alternately."""
    latents, embeds = torch.randn(1, 16, *LATENT).bfloat16(), torch.randn(1, 512, 4096).bfloat16()
    runs = {form: _pass(form, latents, embeds) for form in ("bf16", FP8, INT8)}
    taken: dict[str, list[float]] = {form: [] for form in runs}
    for number in range(ROUNDS + 1):
        for form, run in runs.items():
            start = time.process_time()  # other load on the machine does not count
            run()
            if number:
                taken[form].append(time.process_time() - start)
    rows = [Row("a forward pass in bf16 on the CPU", statistics.median(taken["bf16"]), "s")]
    for form in (FP8, INT8):
        shares = [one / other for one, other in zip(taken[form], taken["bf16"], strict=True)]
        rows.append(Row(f"{form}: share of that time", statistics.median(shares), "", MOST_FORWARD))
    return rows


def _pass(form: str, latents: torch.Tensor, embeds: torch.Tensor) -> Callable[[], object]:
    model = WanTransformer3DModel(**SHAPE | {"num_layers": 2}).eval()
    kept = kept_in_fp32(WanTransformer3DModel, torch.bfloat16)
    for name, weight in model.named_parameters():
        if kept.isdisjoint(name.split(".")):
            weight.data = weight.data.bfloat16()
    if form != "bf16":
        quantise_blocks(model, form)
    run = Network(model, Switches(), None).prepare(latents, embeds, 1)
    return partial(run, latents, embed_timesteps(model, torch.tensor([500.0])))
