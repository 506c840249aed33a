"""Draw the losses of a training as a picture."""

import json
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np


def plot_losses(work: Path, picture: Path) -> None:
    """Plot the losses of each stage in `work`, with a mean over fifty steps."""
    histories = {path.stem: json.loads(path.read_text()) for path in sorted(work.glob("*.json"))}
    figure, axes = plt.subplots(2, (len(histories) + 1) // 2, figsize=(14, 6), squeeze=False)
    for panel, (name, history) in zip(axes.flat, histories.items(), strict=False):
        values = np.array([step["loss"] for step in history])
        width = min(50, len(values))
        panel.plot(values, color="0.85", linewidth=0.5)
        panel.plot(np.arange(width - 1, len(values)), np.convolve(values, np.ones(width) / width, "valid"))
        panel.set(title=name, xlabel="step", ylabel="loss", yscale="log")
    for panel in axes.flat[len(histories) :]:
        panel.axis("off")
    figure.tight_layout()
    figure.savefig(picture, dpi=80)
    plt.close(figure)
