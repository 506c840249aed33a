"""The fast path on a GPU at true shapes with random weights, beside the card's own matrix rate.

`python -m bench gpu_kernels gpu_models gpu_vaes` measures. `python -m bench.gpu` runs the same code at toy size on the
CPU: that it runs is all that it says.
"""

from __future__ import annotations

from bench.machine import describe
from bench.table import Figure, Row, save, show

DEVICE = "cuda:0"
TITLES = {
    "kernels": "the single operations of a DiT at true shapes, bf16",
    "models": "a forward pass of a DiT at true shapes, bf16, random weights, by diffusers and by ours",
    "vaes": "Wan's VAEs at true shapes, random weights, by diffusers and by ours",
}


def kernels() -> Figure | None:
    return _measured("kernels")


def models() -> Figure | None:
    return _measured("models")


def vaes() -> Figure | None:
    return _measured("vaes")


def toy(what: str) -> Figure:
    """Return a figure whose numbers mean nothing, by the code that makes the true one."""
    from bench.card import clock, figures, shapes

    rows = tuple(getattr(figures, what)(shapes.TOY, clock.TOY))
    return Figure(f"gpu_{what}", f"{shapes.NO_FIGURES}: {TITLES[what]}", rows)


def _measured(what: str) -> Figure | None:
    """Return the figure; it is saved as it grows, since a lent machine may be taken back."""
    import torch

    if not torch.cuda.is_available():
        return None
    from bench.card import figures
    from bench.card.clock import Clock
    from bench.card.shapes import TRUE

    machine, clock = describe(), Clock(DEVICE)
    notes = (
        f"{torch.cuda.get_device_name()}, PyTorch {torch.__version__}, cuDNN {torch.backends.cudnn.version()}",
        f"medians of {clock.rounds} rounds, in turns, or of half a second for single operations",
        f"the rate is that of products of {clock.side} x {clock.side} random bf16 matrices, {clock.calibration:g} s of "
        "them before, between and after the rounds",
    )
    figure = Figure(f"gpu_{what}", TITLES[what], (), notes)
    rows: list[Row] = []
    for row in getattr(figures, what)(TRUE, clock):
        rows.append(row)
        figure = Figure(figure.name, figure.title, tuple(rows), notes)
        save(figure, machine)
    return figure


if __name__ == "__main__":
    for each in TITLES:
        show(toy(each))
