"""The time of a video by the embedded models, over HTTP."""

import statistics
import time
from typing import Any

import cv2
import numpy as np

from bench.tools.server import Client, data_url, message, serve
from bench.tools.table import Figure, Row

RUNS = 5
TEXT = "a red ball rolls to the right"


def measure() -> Figure:
    inputs = {
        "wan-nano-t2v": message(TEXT),
        "wan-nano-i2v": message(TEXT, data_url(picture())),
        "wan-nano-ti2v": message(TEXT),
    }
    rows = []
    with serve() as server, server.connect() as client:
        for model, what in inputs.items():
            first, *later = (_seconds(client, model, what) for _ in range(1 + RUNS))
            rows.append(Row(f"{model}, median", statistics.median(later), "s", 3))
            rows.append(Row(f"{model}, slowest", max(later), "s"))
            rows.append(Row(f"{model}, first request, which loads it", first, "s"))
    return Figure(
        "nano",
        "one default request on the CPU: 64x64, 17 frames, 12 steps",
        tuple(rows),
        (f"{RUNS} requests each after the first; the first of all imports torch",),
    )


def _seconds(client: Client, model: str, what: Any) -> float:
    started = time.perf_counter()
    client.make(model, what)
    return time.perf_counter() - started


def picture() -> Any:
    """Return a ball on a background, `(64, 64, 3)`."""
    pixels = np.full((64, 64, 3), (60, 160, 60), np.uint8)
    return cv2.circle(pixels, (32, 32), 16, (40, 40, 220), -1, cv2.LINE_AA)
