"""Wan Nano on the CPU: our forward passes against diffusers' own pipelines."""

import shutil
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from diffusers import AutoencoderKLWan, DiffusionPipeline, UniPCMultistepScheduler, WanImageToVideoPipeline
from PIL import Image

from bench.figures.nano import picture
from bench.tools.table import Figure, Row
from plugins.diffusers_backend.dit.timestep_embedding import embed_timesteps
from plugins.wan.generate.decode import decode_chunks
from plugins.wan.tuning.switches import Switches
from router.settings import Settings
from router.system import assemble
from router.testing.contract import Subject

ROUNDS = 15
STEPS = 12
SIZE = {"width": 64, "height": 64, "num_frames": 17}
GUIDANCE = 3.0
KINDS = {"t2v": ("t2v", False), "i2v": ("i2v", True), "ti2v": ("ti2v", True)}  # the model's kind, with an image or not
MOST_EAGER, MOST_COMPILED = 1 / 3, 1 / 4  # of the stock pipeline's time
PROMPT, NEGATIVE = "a red ball rolls to the right", "blurred"
# switches that end in _kernel are for GPUs
OFF_ALONE = [name for name, on in asdict(Switches()).items() if on and not name.endswith("_kernel")]
Make = Callable[[int], Any]  # makes a video; each number is a prompt of its own, so that no cache has it


def measure() -> Figure:
    with tempfile.TemporaryDirectory() as folder:
        subjects = _subjects(Path(folder))
        rows = [row for kind in KINDS for row in _videos(subjects, kind)]
        rows += [*_stages(subjects), *_parts(subjects)]
    return Figure(
        "fast",
        "Wan Nano on the CPU, ours and the stock pipelines of diffusers, end to end",
        tuple(rows),
        (
            f"medians of {ROUNDS} rounds, in each of which all run once, on {torch.get_num_threads()} threads",
            f"64x64, 17 frames, {STEPS} steps, guidance {GUIDANCE:g}, fp32; each video has a new prompt",
            f"PyTorch {torch.__version__}; {'' if _compiles() else 'not compiled, there is no C++ compiler; '}"
            "shares are of the stock pipeline's time",
        ),
    )


def _subjects(folder: Path) -> Callable[[str, object], Any]:
    """Return a loader of the embedded models, which takes the option `fast`."""
    entries = {word: f"backend: diffusers, source: 'embedded:wan-nano-{word}'" for word, _ in KINDS.values()}
    find = loader(folder, entries)

    def load(word: str, fast: object) -> Any:
        subject = find(word, options={"fast": fast})
        image = picture() if KINDS[word][1] else None
        subject.task = replace(
            subject.task, **SIZE, steps=STEPS, guidance_scale=GUIDANCE, negative_prompt=NEGATIVE, image=image
        )
        return subject

    return load


def loader(folder: Path, entries: Mapping[str, str]) -> Callable[..., Any]:
    """Return a loader of models on the CPU, by name and changes."""
    models = folder / "models.yaml"
    models.write_text("\n".join(["models:", *(f"  {name}: {{{entry}}}" for name, entry in entries.items())]))
    system = assemble(Settings(data=folder / "data", models=models))

    def load(name: str, **changes: object) -> Any:
        model: Any = system.registries.poll().find(name)
        here = replace(model, folder=system.weights.obtain(model, lambda done, total: None), **changes)
        here = system.weights.obtain_adapters(here, [each.name for each in here.adapters], lambda done, total: None)
        return Subject(system.plugins, here, "cpu")

    return load


def interleaved(runs: Mapping[str, Callable[[], object]], rounds: int) -> dict[str, float]:
    """Return the median seconds of each run, all measured alternately."""
    # other load on the machine affects all runs alike; the first three rounds warm up
    taken: dict[str, list[float]] = {name: [] for name in runs}
    for _ in range(rounds + 3):
        for name, run in runs.items():
            start = time.perf_counter()
            run()
            taken[name].append(time.perf_counter() - start)
    return {name: statistics.median(seconds[3:]) for name, seconds in taken.items()}


def _videos(load: Callable[[str, object], Any], kind: str) -> Iterator[Row]:
    word, _ = KINDS[kind]
    subject = load(word, True)
    runs: dict[str, Make] = {"stock": stock(subject), "ours": making(subject)}
    if _compiles():
        runs["ours, compiled"] = making(compiled(load(word, {"compile": True})))
    expected = np.asarray(runs["stock"](0))
    taken = _in_turns(runs)
    for name, seconds in taken.items():
        yield Row(f"{kind}: {name}", 1000 * seconds, "ms")
    for name, most in (("ours", MOST_EAGER), ("ours, compiled", MOST_COMPILED)):
        if name in runs:
            yield Row(f"{kind}: {name}, share of stock", taken[name] / taken["stock"], "", round(most, 3))
            worst = np.abs(runs[name](0).astype(int) - expected).max()
            yield Row(f"{kind}: {name}, largest difference of a uint8 value (wanted: 1 or less)", float(worst))


def _parts(load: Callable[[str, object], Any]) -> Iterator[Row]:
    for kind, names in (
        ("t2v", [name for name in OFF_ALONE if name != "framewise_time"]),
        ("ti2v", ["framewise_time"]),
    ):
        subject = load(kind, True)
        runs = {"stock": stock(subject), "all": making(subject), "again": making(subject)}
        runs |= {name: making(load(kind, {name: False})) for name in names}
        taken = _in_turns(runs)
        yield Row(f"{kind}: share of stock with every part", taken["all"] / taken["stock"])
        yield Row(f"{kind}: the same, measured again in the same rounds", taken["again"] / taken["stock"])
        for name in names:
            yield Row(f"{kind}: share of stock without {name}", taken[name] / taken["stock"])


def _stages(load: Callable[[str, object], Any]) -> Iterator[Row]:
    plain, quick = load("t2v", False).loaded, load("t2v", True).loaded
    latents, embeds = torch.randn(1, 16, 5, 8, 8), torch.zeros(2, 512, 128)
    embeds[:, :12] = torch.randn(2, 12, 128)
    timestep, clip = torch.tensor([500.0]), torch.rand(1, 3, SIZE["num_frames"], 64, 64) * 2 - 1
    steps: dict[str, Callable[[], object]] = {
        "stock": lambda: [plain.parts["transformer"](latents, timestep, each[None]) for each in embeds],
        "ours": _step(quick, latents, embeds, timestep),
    }
    if _compiles():
        steps["ours, compiled"] = _step(compiled(load("t2v", {"compile": True})).loaded, latents, embeds, timestep)
    encoder, decoder = load("i2v", True).loaded.parts["vae"], quick.decoder
    whole = AutoencoderKLWan.from_pretrained(plain.checkpoint.parts["vae"].folder)
    stages = {
        "one step of the DiT": steps,
        "decoding": {"stock": lambda: whole.decode(latents), "ours": lambda: list(decode_chunks(decoder, latents))},
        "encoding": {"stock": lambda: whole.encode(clip), "ours": lambda: encoder.encode(clip)},
    }
    with torch.no_grad():
        for stage, runs in stages.items():
            for name, seconds in interleaved(runs, ROUNDS).items():
                yield Row(f"{stage}: {name}", 1000 * seconds, "ms")


def _step(loaded: Any, latents: Any, embeds: Any, timestep: Any) -> Callable[[], object]:
    network = loaded.paths.networks["transformer"]
    run, moment = network.prepare(latents, embeds, 1), embed_timesteps(network.model, timestep)
    return lambda: run(latents, moment)


def making(subject: Any) -> Make:
    return lambda number: subject.video(replace(subject.task, prompt=f"{PROMPT} {number}"))


def compiled(subject: Any) -> Any:
    """Return `subject` once its blocks are compiled for its task."""
    making(subject)(0)
    subject.loaded.paths.networks["transformer"].compiler.wait()
    return subject


def stock(subject: Any) -> Make:
    task = subject.task
    pipe = DiffusionPipeline.from_pretrained(subject.model.folder, dtype=torch.float32)
    images = {}
    if task.image is not None:
        kept = {key: pipe.config[key] for key in ("boundary_ratio", "expand_timesteps")}
        pipe = WanImageToVideoPipeline(**pipe.components | {"image_encoder": None, "image_processor": None}, **kept)
        images["image"] = Image.fromarray(task.image)
    pipe.scheduler = UniPCMultistepScheduler.from_config(pipe.scheduler.config, flow_shift=task.flow_shift)
    pipe.set_progress_bar_config(disable=True)

    def make(number: int) -> Any:
        frames = pipe(
            prompt=f"{PROMPT} {number}",
            negative_prompt=NEGATIVE,
            num_inference_steps=STEPS,
            guidance_scale=GUIDANCE,
            guidance_scale_2=task.guidance_scale_2 if pipe.config.boundary_ratio is not None else None,
            generator=torch.Generator().manual_seed(task.seed),
            **SIZE,
            **images,
        ).frames[0]
        return (frames * 255).round().astype(np.uint8)

    return make


def _in_turns(runs: Mapping[str, Make]) -> dict[str, float]:
    numbers = iter(range(1, 10**9))
    return interleaved({name: lambda make=make: make(next(numbers)) for name, make in runs.items()}, ROUNDS)


def _compiles() -> bool:
    return shutil.which("g++") is not None
