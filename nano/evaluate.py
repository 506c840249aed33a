"""`python -m nano.evaluate`: how often the family draws what it is asked for, of what training never showed."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import click
import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from nano.captions import FULL, MOTION, describe
from nano.family import RECIPES, WEIGHTS, link_family
from nano.measure import Seen, look, psnr
from nano.scene import FRAMES, Subject, draw_scene, render, subjects
from registry.families import FAMILIES

CLIPS = 100
BATCH = 20
SEED = 90210  # of everything drawn here
DEFAULTS = next(family.defaults for family in FAMILIES if family.name == "wan-nano-t2v")
Clip = NDArray[np.uint8]
FIGURES, CARD = Path(__file__).with_name("figures.json"), Path(__file__).with_name("README.md")
MARKS = ("<!-- figures -->", "<!-- /figures -->")


@dataclass(frozen=True)
class Ask:
    """One request: the text, its seed, the image if there is one, and what the answer should show."""

    prompt: str
    subject: Subject
    seed: int
    image: Clip | None = None
    negative: str = ""


class Model:
    """A model of the family behind diffusers' own pipelines, with the registry's defaults."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    @cached_property
    def _text(self) -> Any:
        from diffusers import WanPipeline

        return _loaded(WanPipeline, self._folder)

    @cached_property
    def _image(self) -> Any:
        from diffusers import WanImageToVideoPipeline

        return _loaded(WanImageToVideoPipeline, self._folder)

    def clips(self, asked: Sequence[Ask], desc: str, guidance: float | None = None, side: int = 64) -> list[Clip]:
        """Return a clip for each request; all of them have an image, or none has."""
        import torch
        from PIL import Image

        result: list[Clip] = []
        for start in tqdm(range(0, len(asked), BATCH), desc=desc, leave=False):
            batch = asked[start : start + BATCH]
            settings: dict[str, Any] = {
                "prompt": [ask.prompt for ask in batch],
                "negative_prompt": [ask.negative for ask in batch],
                "height": side,
                "width": side,
                "num_frames": FRAMES,
                "num_inference_steps": DEFAULTS.steps,
                "guidance_scale": DEFAULTS.guidance_scale if guidance is None else guidance,
                "output_type": "np",
            }
            if batch[0].image is None:
                generators = [torch.Generator().manual_seed(ask.seed) for ask in batch]
                result += _bytes(self._text(**settings, generator=generators).frames)
                continue
            for ask in batch:  # diffusers' pipeline takes one image for all prompts
                settings |= {"prompt": ask.prompt, "negative_prompt": ask.negative, "image": Image.fromarray(ask.image)}
                result += _bytes(self._image(**settings, generator=torch.Generator().manual_seed(ask.seed)).frames)
        return result


def held_out(count: int, with_image: bool, side: int = 64, seed: int = SEED) -> list[Ask]:
    """Return requests for subjects that training never showed, with captions in drawn words."""
    rng = np.random.default_rng((seed, with_image, side))
    hidden = subjects(held_out=True)
    order = [hidden[int(index)] for index in np.resize(rng.permutation(len(hidden)), count)]
    asked = []
    for index, subject in enumerate(order):
        image = render(draw_scene(subject, rng), side, side, 1)[0] if with_image else None
        prompt = describe(subject, rng, MOTION if with_image else FULL).text
        asked.append(Ask(prompt, subject, seed + index, image))
    return asked


def score(asked: Sequence[Ask], clips: Sequence[Clip]) -> dict[str, float]:
    """Return the share of clips that show what was asked, for each aspect; with images, also how well they are kept."""
    seen = [look(clip) for clip in clips]
    shares = {
        aspect: float(np.mean([_is_right(ask, one, aspect) for ask, one in zip(asked, seen, strict=True)]))
        for aspect in ("colour", "shape", "direction")
    }
    if asked[0].image is None:
        return shares
    moved = [
        _is_right(ask, one, "colour") and _is_right(ask, one, "direction") for ask, one in zip(asked, seen, strict=True)
    ]
    shares["moved"] = float(np.mean(moved))  # the object of that image, in that direction: both, in one clip
    kept = [psnr(clip[0], ask.image) for ask, clip in zip(asked, clips, strict=True) if ask.image is not None]
    return {**shares, "psnr": float(np.median(kept)), "psnr_min": float(min(kept)), "kept": _share(kept, 22.0)}


def effects(model: Model, asked: Sequence[Ask]) -> dict[str, float]:
    """Return what guidance, a negative prompt and the seed do to text-to-video."""
    unguided, guided = model.clips(asked, "guidance 1", guidance=1.0), model.clips(asked, "guidance")
    weak, strong = score(asked, unguided), score(asked, guided)
    # no colour is asked for; then the one that came is put into the negative prompt, with the same seed
    free = [
        Ask(f"a circle moves {('left', 'right')[index % 2]}", asked[0].subject, SEED + index) for index in range(40)
    ]
    drawn = [look(clip).colour for clip in model.clips(free, "free colour")]
    barred = [replace(ask, negative=colour or "red") for ask, colour in zip(free, drawn, strict=True)]
    left = [look(clip).colour for clip in model.clips(barred, "negative prompt")]
    one, other, again = (model.clips([replace(asked[0], seed=seed)], "seed")[0] for seed in (1, 2, 1))
    return {
        "colour at guidance 1": weak["colour"],
        "colour at the default guidance": strong["colour"],
        "direction at guidance 1": weak["direction"],
        "direction at the default guidance": strong["direction"],
        "shape at guidance 1": weak["shape"],
        "shape at the default guidance": strong["shape"],
        "PSNR between a clip at guidance 1 and at the default, median": float(np.median(_apart(unguided, guided))),
        "clips that keep the colour of the negative prompt": float(np.mean(np.array(left) == np.array(drawn))),
        "PSNR between two seeds": psnr(one, other),
        "one seed twice gives one clip": float(one.tobytes() == again.tobytes()),
    }


def table(rows: dict[str, dict[str, float]]) -> str:
    """Return the scores as Markdown."""
    lines = [
        "| | clips | shape | colour | direction | both of these | first frame, median (worst) | 22 dB or more |",
        "| :- |" + " -: |" * 7,
    ]
    for name, row in rows.items():
        cells = [name, f"{row['clips']:g}", *(f"{row[aspect]:.0%}" for aspect in ("shape", "colour", "direction"))]
        if "psnr" in row:
            cells += [f"{row['moved']:.0%}", f"{row['psnr']:.1f} dB ({row['psnr_min']:.1f})", f"{row['kept']:.0%}"]
        else:
            cells += ["", "", ""]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


@click.command()
@click.option("--weights", type=click.Path(path_type=Path, exists=True), default=WEIGHTS)
@click.option("--clips", default=CLIPS, help="for each model and kind of request")
@click.option("--write", is_flag=True, help="also write the figures into nano/figures.json and nano/README.md")
def main(weights: Path, clips: int, write: bool) -> None:
    """Print how often each model draws what it is asked for."""
    rows: dict[str, dict[str, float]] = {}
    with TemporaryDirectory() as folder:
        link_family(Path(folder) / "family", weights)
        models = {name: Model(Path(folder) / "family" / name) for name in RECIPES}
        for name, label, with_image, side in _CASES:
            asked = held_out(clips if side == 64 else max(clips // 5, 1), with_image, side)
            rows[label] = {"clips": len(asked), **score(asked, models[name].clips(asked, label, side=side))}
            print(f"{label}: {rows[label]}", flush=True)
        found = effects(models["wan-nano-t2v"], held_out(clips, with_image=False))
    said = table(rows) + "\n\n" + "\n".join(f"- {label}: {value:.2f}" for label, value in found.items())
    print(said)
    if write:
        FIGURES.write_text(json.dumps({"clips": clips, "scores": rows, "effects": found}, indent=2) + "\n")
        before, _, rest = CARD.read_text().partition(MARKS[0])
        CARD.write_text(f"{before}{MARKS[0]}\n{said}\n{MARKS[1]}{rest.partition(MARKS[1])[2]}")


_CASES = (
    ("wan-nano-t2v", "wan-nano-t2v", False, 64),
    ("wan-nano-ti2v", "wan-nano-ti2v, text", False, 64),
    ("wan-nano-ti2v", "wan-nano-ti2v, image", True, 64),
    ("wan-nano-i2v", "wan-nano-i2v", True, 64),
    ("wan-nano-t2v", "wan-nano-t2v, 96x96", False, 96),
    ("wan-nano-ti2v", "wan-nano-ti2v, text, 96x96", False, 96),
    ("wan-nano-i2v", "wan-nano-i2v, 96x96", True, 96),
)


def _is_right(ask: Ask, seen: Seen, aspect: str) -> bool:
    return bool(getattr(ask.subject, aspect) == getattr(seen, aspect))


def _apart(some: Sequence[Clip], others: Sequence[Clip]) -> list[float]:
    return [psnr(one, other) for one, other in zip(some, others, strict=True)]


def _share(values: Sequence[float], least: float) -> float:
    return float(np.mean(np.array(values) >= least))


def _bytes(frames: NDArray[np.float32]) -> list[Clip]:
    return list((frames * 255.0).round().astype(np.uint8))


def _loaded(pipeline: Any, folder: Path) -> Any:
    import torch

    pipe = pipeline.from_pretrained(folder, torch_dtype=torch.float32)
    shift = DEFAULTS.flow_shift.at(DEFAULTS.width, DEFAULTS.height)  # as the server sets it for each request
    pipe.scheduler = type(pipe.scheduler).from_config(pipe.scheduler.config, flow_shift=shift)
    pipe.set_progress_bar_config(disable=True)
    return pipe


if __name__ == "__main__":
    main()
