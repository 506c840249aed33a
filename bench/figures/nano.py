"""The time of a video by the embedded models, over HTTP."""

from __future__ import annotations

import base64
import statistics
import time
from typing import Any

import cv2
import numpy as np

from bench.tools.server import Client, serve
from bench.tools.table import Figure, Row

RUNS = 5
TEXT = {"type": "input_text", "text": "a red ball rolls to the right"}


def measure() -> Figure:
    inputs: dict[str, list[dict[str, str]]] = {
        "wan-nano-t2v": [TEXT],
        "wan-nano-i2v": [_picture(), TEXT],
        "wan-nano-ti2v": [TEXT],
    }
    rows = []
    with serve() as server, server.connect() as client:
        for model, content in inputs.items():
            first, *later = (_seconds(client, model, content) for _ in range(1 + RUNS))
            rows.append(Row(f"{model}, median", statistics.median(later), "s", 3))
            rows.append(Row(f"{model}, slowest", max(later), "s"))
            rows.append(Row(f"{model}, first request, which loads it", first, "s"))
    return Figure(
        "nano",
        "one default request on the CPU: 64x64, 17 frames, 12 steps",
        tuple(rows),
        (f"{RUNS} requests each after the first; the first of all imports torch",),
    )


def _seconds(client: Client, model: str, content: list[dict[str, str]]) -> float:
    message: list[dict[str, Any]] = [{"role": "user", "content": content}]
    started = time.perf_counter()
    client.make(model, message)
    return time.perf_counter() - started


def _picture() -> dict[str, str]:
    pixels = np.full((64, 64, 3), (60, 160, 60), np.uint8)
    cv2.circle(pixels, (32, 32), 16, (40, 40, 220), -1, cv2.LINE_AA)
    data = base64.b64encode(cv2.imencode(".png", pixels)[1].tobytes()).decode()
    return {"type": "input_image", "image_url": f"data:image/png;base64,{data}"}
