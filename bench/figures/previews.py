"""The cost of a preview: map latents to colours, encode and store the picture."""

import statistics
import tempfile
import time
from pathlib import Path

import torch

from bench.tools.table import Figure, Row
from plugins.wan.generate.preview import WAN_2_1, WAN_2_1_BIAS, LatentMap
from router.engine.previews import SECONDS, Previews
from router.storage.artifacts import ArtifactStore

RUNS = 50
LATENTS = (1, 16, 21, 60, 104)  # of 832x480 and 81 frames
JOB = "0" * 32


def measure() -> Figure:
    latents = torch.randn(LATENTS, generator=torch.Generator().manual_seed(1))
    colours = LatentMap(torch.tensor(WAN_2_1), torch.tensor(WAN_2_1_BIAS))
    taken = []
    with tempfile.TemporaryDirectory() as folder:
        for _ in range(RUNS):
            previews = Previews(ArtifactStore(Path(folder)), JOB)
            start = time.perf_counter()
            previews.show(lambda: colours.picture(latents))
            taken.append(time.perf_counter() - start)
    median = statistics.median(taken)
    return Figure(
        "previews",
        "one preview of a Wan 2.1 video of 832x480 and 81 frames, latents on the CPU",
        (
            Row("picture, JPEG and file, median", median * 1000, "ms"),
            Row("share of a running model's time, at most", 100 * median / SECONDS, "%", 1),
        ),
        (f"{RUNS} previews; one is made at most every {SECONDS:g} s, so however short a step is, this is the share",),
    )
