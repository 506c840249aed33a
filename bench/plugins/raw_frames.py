"""Save each video's pixels before H.264, as `<job>.npy` in the folder $BENCH_FRAMES."""

import os
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np

from router import Frames, Pixels, hookimpl
from router.engine import encoder

FOLDER = "BENCH_FRAMES"


@hookimpl
def encode_output(frames: Frames, path: Path) -> bool | None:
    """Write the video by the router's own encoder, and its frames `(n, height, width, 3)`."""
    kept: list[Pixels] = []
    written = encoder.encode_output(replace(frames, pixels=_kept(frames, kept)), path)
    if written:
        np.save(Path(os.environ[FOLDER]) / f"{path.parent.name}.npy", np.concatenate(kept))
    return written


def _kept(frames: Frames, kept: list[Pixels]) -> Iterator[Pixels]:
    for chunk in frames.pixels:
        kept.append(chunk)
        yield chunk
