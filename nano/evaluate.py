"""`python -m nano.evaluate`: measure how often the family draws held-out subjects as requested."""

import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory

import click
import numpy as np

from nano.adapters import adapter_files, write_merged
from nano.family import WEIGHTS, link_family
from nano.measure import Observation, chroma, observe, psnr
from nano.model import DEFAULT, FAST4, Sampling, make_clips
from nano.requests import SEED, Clip, ClipRequest, held_out

CLIPS = 100
FIGURES, CARD = Path(__file__).with_name("figures.json"), Path(__file__).with_name("README.md")
MARKS = ("<!-- figures -->", "<!-- /figures -->")


@dataclass(frozen=True)
class Case:
    """A row of the table: a model with its settings and adapters."""

    model: str
    label: str
    with_image: bool = False
    side: int = 64
    settings: Sampling = DEFAULT
    adapters: tuple[str, ...] = ()


def score(requests: Sequence[ClipRequest], clips: Sequence[Clip]) -> dict[str, float]:
    """Return the share of correct clips for each aspect.

    With images, also `moved`, the share with both the image's colour and the direction; `psnr` and `psnr_min`, the
    median and the minimum PSNR of first frames in decibels; and `kept`, the share of 22 dB or more.
    """
    pairs = list(zip(requests, (observe(clip) for clip in clips), strict=True))
    shares = {
        aspect: float(np.mean([_is_right(request, seen, aspect) for request, seen in pairs]))
        for aspect in ("colour", "shape", "direction")
    }
    if requests[0].image is None:
        return shares
    moved = [_is_right(request, seen, "colour") and _is_right(request, seen, "direction") for request, seen in pairs]
    shares["moved"] = float(np.mean(moved))
    first = [psnr(clip[0], one.image) for one, clip in zip(requests, clips, strict=True) if one.image is not None]
    kept = float(np.mean(np.array(first) >= 22.0))
    return {**shares, "psnr": float(np.median(first)), "psnr_min": float(min(first)), "kept": kept}


def effects(model: Path, requests: Sequence[ClipRequest]) -> dict[str, float]:
    """Return the effects of guidance, a negative prompt and the seed on text-to-video."""
    without = replace(DEFAULT, guidance_scale=1.0)
    unguided, guided = make_clips(model, requests, "guidance 1", without), make_clips(model, requests, "guidance")
    weak, strong = score(requests, unguided), score(requests, guided)
    apart = [psnr(one, other) for one, other in zip(unguided, guided, strict=True)]
    # the prompt names no colour; then the colour of the clip becomes the negative prompt, with the same seed
    directions = [("left", "right")[index % 2] for index in range(40)]
    subject = requests[0].subject
    free = [ClipRequest(f"a circle moves {where}", subject, SEED + index) for index, where in enumerate(directions)]
    drawn = [observe(clip).colour for clip in make_clips(model, free, "free colour")]
    barred = [replace(one, negative=colour or "red") for one, colour in zip(free, drawn, strict=True)]
    left = [observe(clip).colour for clip in make_clips(model, barred, "negative prompt")]
    one, other, again = (make_clips(model, [replace(requests[0], seed=seed)], "seed")[0] for seed in (1, 2, 1))
    return {
        **{
            f"{aspect} at {how}": shares[aspect]
            for aspect in ("colour", "direction", "shape")
            for how, shares in (("guidance 1", weak), ("the default guidance", strong))
        },
        "PSNR between a clip at guidance 1 and at the default, median": float(np.median(apart)),
        "clips that keep the colour of the negative prompt": float(np.mean(np.array(left) == np.array(drawn))),
        "PSNR between two seeds": psnr(one, other),
        "one seed twice gives one clip": float(one.tobytes() == again.tobytes()),
    }


def table(rows: dict[str, dict[str, float]]) -> str:
    lines = [
        "| | clips | shape | colour | direction | both of these | first frame, median (worst) | 22 dB or more |",
        "| :- |" + " -: |" * 7,
    ]
    for name, row in rows.items():
        cells = [name, f"{row['clips']:g}", *(f"{row[aspect]:.0%}" for aspect in ("shape", "colour", "direction"))]
        if "chroma" in row:
            cells[3] = f"chroma {row['chroma']:.2f}"
        if "psnr" in row:
            cells += [f"{row['moved']:.0%}", f"{row['psnr']:.1f} dB ({row['psnr_min']:.1f})", f"{row['kept']:.0%}"]
        else:
            cells += ["", "", ""]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


@click.command()
@click.option("--weights", type=click.Path(path_type=Path, exists=True), default=WEIGHTS)
@click.option("--clips", default=CLIPS, help="for each model and kind of request")
@click.option("--adapters", is_flag=True, help="measure the adapters alone; the other figures stay as they are")
@click.option("--write", is_flag=True, help="also write the figures into nano/figures.json and nano/README.md")
def main(weights: Path, clips: int, adapters: bool, write: bool) -> None:
    """Print how often each model draws the requested subject."""
    before = json.loads(FIGURES.read_text()) if adapters else {"scores": {}, "effects": {}}
    rows: dict[str, dict[str, float]] = before["scores"]
    found: dict[str, float] = before["effects"]
    with TemporaryDirectory() as folder:
        family = Path(folder) / "family"
        link_family(family, weights)
        for case in _CASES:
            if adapters and case.settings == DEFAULT and not case.adapters:
                continue
            requests = held_out(clips if case.side == 64 else max(clips // 5, 1), case.with_image, case.side)
            made = make_clips(_with_adapters(family, case, weights), requests, case.label, case.settings, case.side)
            rows[case.label] = {"clips": len(requests), **score(requests, made)}
            if "noir" in case.adapters:
                seen = [value for clip in made if (value := chroma(clip)) is not None]
                rows[case.label]["chroma"] = float(np.median(seen))
            print(f"{case.label}: {rows[case.label]}", flush=True)
        if not adapters:
            found = effects(family / "wan-nano-t2v", held_out(clips, with_image=False))
    report = table(rows) + "\n\n" + "\n".join(f"- {label}: {value:.2f}" for label, value in found.items())
    print(report)
    if write:
        FIGURES.write_text(json.dumps({"clips": clips, "scores": rows, "effects": found}, indent=2) + "\n")
        head, _, rest = CARD.read_text().partition(MARKS[0])
        CARD.write_text(f"{head}{MARKS[0]}\n{report}\n{MARKS[1]}{rest.partition(MARKS[1])[2]}")


_CASES = (
    Case("wan-nano-t2v", "wan-nano-t2v"),
    Case("wan-nano-ti2v", "wan-nano-ti2v, text"),
    Case("wan-nano-ti2v", "wan-nano-ti2v, image", with_image=True),
    Case("wan-nano-i2v", "wan-nano-i2v", with_image=True),
    Case("wan-nano-t2v", "wan-nano-t2v, 96x96", side=96),
    Case("wan-nano-ti2v", "wan-nano-ti2v, text, 96x96", side=96),
    Case("wan-nano-i2v", "wan-nano-i2v, 96x96", with_image=True, side=96),
    *(
        Case(model, f"{label}, {how}", with_image, settings=FAST4, adapters=adapters)
        for model, label, with_image in (
            ("wan-nano-t2v", "wan-nano-t2v", False),
            ("wan-nano-ti2v", "wan-nano-ti2v, text", False),
            ("wan-nano-ti2v", "wan-nano-ti2v, image", True),
            ("wan-nano-i2v", "wan-nano-i2v", True),
        )
        for how, adapters in (("4 steps without guidance", ()), ("`fast4`", ("fast4",)))
    ),
    Case("wan-nano-t2v", "wan-nano-t2v, `noir`", adapters=("noir",)),
    Case("wan-nano-t2v", "wan-nano-t2v, `fast4` and `noir`", settings=FAST4, adapters=("fast4", "noir")),
)


def _with_adapters(family: Path, case: Case, weights: Path) -> Path:
    """Return the folder of the case's model, its adapters merged."""
    if not case.adapters:
        return family / case.model
    folder = family.with_name("-".join((case.model, *case.adapters)))
    write_merged(folder, family / case.model, [adapter_files(case.model, one, weights) for one in case.adapters])
    return folder


def _is_right(request: ClipRequest, seen: Observation, aspect: str) -> bool:
    return bool(getattr(request.subject, aspect) == getattr(seen, aspect))


if __name__ == "__main__":
    main()
