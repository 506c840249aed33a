"""A DiT's forward pass on the CPU, by ONNX Runtime and by PyTorch."""

import math
import shutil
import tempfile
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import torch
from diffusers import WanTransformer3DModel

from bench.figures.fast import interleaved, loader
from bench.tools.table import Figure, Row
from nano.family import link_family
from plugins.onnx_backend.export.folder import Source, export
from plugins.onnx_backend.load import read_transformer
from plugins.wan.weights.safetensors import stored_in
from registry.folders import weights_in

ROUNDS = 25
CLIPS = {80: (5, 8, 8), 320: (5, 16, 16), 1280: (5, 32, 32)}  # tokens: latent frames, height, width
UNSEEN = ((5, 8, 8), (4, 12, 8), (1, 2, 2), (7, 16, 10), (2, 24, 24))  # other shapes than the traced one
MODALITIES = ("t2v", "i2v", "ti2v")
TIME = 500.0


def measure() -> Figure:
    with tempfile.TemporaryDirectory() as folder:
        folders = _exports(Path(folder))
        with torch.inference_mode():
            rows = [*_speed(folders["t2v"]), *_nearness(folders)]
        rows += _videos(Path(folder), folders)
    return Figure(
        "onnx",
        "Wan Nano by ONNX Runtime and by PyTorch, fp32 on the CPU",
        tuple(rows),
        (
            f"medians of {ROUNDS} rounds, in each of which all three run once, on {torch.get_num_threads()} threads",
            f"ONNX Runtime {onnxruntime.__version__}, PyTorch {torch.__version__}",
            "errors are those of one forward pass with random weights, relative in the 2-norm",
        ),
    )


def _exports(folder: Path) -> dict[str, Path]:
    link_family(folder / "family")
    found = {}
    for word in MODALITIES:
        name = f"wan-nano-{word}"
        found[word] = folder / name
        export(Source(folder / "family" / name, name, None), found[word], "fp32", lambda *_: None)
    return found


def graph_of(folder: Path) -> Any:
    """Return the backend's transformer of an fp32 export, on the CPU."""
    return read_transformer(folder / "transformer", torch.float32, "cpu", "cpu")


def _speed(folder: Path) -> list[Row]:
    eager = WanTransformer3DModel.from_pretrained(folder / "transformer")
    compiled = WanTransformer3DModel.from_pretrained(folder / "transformer")
    compiled.compile_repeated_blocks(dynamic=False)
    runners = {"PyTorch eager": eager, "PyTorch compiled": compiled, "ONNX Runtime": graph_of(folder)}
    rows, ratios = [], []
    for tokens, shape in CLIPS.items():
        inputs = torch.randn(1, 16, *shape), torch.tensor([TIME]), torch.randn(1, 512, 128)
        runs = {name: lambda run=run, inputs=inputs: run(*inputs, return_dict=False) for name, run in runners.items()}
        taken = interleaved(runs, ROUNDS)
        rows += [Row(f"{name}, {tokens} tokens", 1000 * seconds, "ms") for name, seconds in taken.items()]
        ratios.append(taken["ONNX Runtime"] / taken["PyTorch eager"])
        rows.append(Row(f"ONNX Runtime's share of eager's time, {tokens} tokens", ratios[-1], "", 1.0))
    together = math.prod(ratios) ** (1 / len(ratios))
    return [*rows, Row("the three together, geometric mean", together, "", round(1 / 1.2, 3))]


def _nearness(folders: Mapping[str, Path]) -> list[Row]:
    rows = []
    made = torch.Generator().manual_seed(1)
    for word, folder in folders.items():
        random = folder.with_name(f"random-{word}")
        _shake(folder / "transformer", random / "transformer", made)
        model, graph = WanTransformer3DModel.from_pretrained(random / "transformer"), graph_of(random)
        worst = 0.0
        for shape in UNSEEN:
            inputs = (
                torch.randn(1, model.config.in_channels, *shape, generator=made),
                _tokens_of(shape) if word == "ti2v" else torch.tensor([TIME]),
                torch.randn(1, 512, 128, generator=made),
            )
            expected, got = model(*inputs, return_dict=False)[0].double(), graph(*inputs)[0].double()
            worst = max(worst, float((got - expected).norm() / expected.norm()))
        rows.append(
            Row(f"{word}: error of one forward pass, the worst of {len(UNSEEN)} shapes", worst * 1e6, "ppm", 10)
        )
    return rows


def _shake(folder: Path, target: Path, made: Any) -> None:
    """Copy an exported transformer and add noise to its weights, at the same offsets."""
    shutil.copytree(folder, target)
    for stored in stored_in(weights_in(target, "transformer")).values():
        with stored.file.open("r+b") as file:
            file.seek(stored.offset)
            file.write((stored.read() + 0.05 * torch.randn(stored.shape, generator=made)).numpy().tobytes())


def _tokens_of(shape: tuple[int, int, int]) -> Any:
    """Return a timestep for each token; the first frame's are zero."""
    frames = torch.full(shape[:1], TIME)
    frames[0] = 0.0
    return frames.repeat_interleave(shape[1] * shape[2] // 4)[None]


def _videos(folder: Path, folders: Mapping[str, Path]) -> list[Row]:
    models = {f"wan-{word}": f"backend: diffusers, source: 'embedded:wan-nano-{word}'" for word in MODALITIES}
    for word, export_of in folders.items():
        models[f"onnx-{word}"] = f"backend: onnxruntime, source: '{export_of}', family: wan-nano-{word}"
    load = loader(folder, models)
    rows = []
    for word in MODALITIES:
        wan, onnx = (_clip(load(f"{kind}-{word}")) for kind in ("wan", "onnx"))
        likeness = 10 * math.log10(255**2 / max(float(np.square(wan - onnx).mean()), 1e-9))
        rows.append(Row(f"{word}: likeness of whole videos (wanted: 50 or more)", likeness, "dB PSNR"))
        worst = float(np.abs(wan - onnx).max())
        rows.append(Row(f"{word}: largest difference of a uint8 value of them", worst))
    return rows


def _clip(subject: Any) -> Any:
    return subject.video(replace(subject.task, steps=8, num_frames=17)).astype(float)
