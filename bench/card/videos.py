"""A server whose videos can be compared before H.264, and what it says of them."""

from __future__ import annotations

import base64
import hashlib
import json
import os
import re
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from bench.plugins.raw_frames import FOLDER
from bench.tools import server as serving
from bench.tools.server import PLUGINS, Client, Server
from nano import measure

Clip = NDArray[np.uint8]
WITH = (PLUGINS / "raw_frames.py", PLUGINS / "probe.py")
SEED = 7
IDENTICAL = 99.0  # dB that stand for an infinite ratio
PATIENCE_SECONDS = 120.0
METRIC = re.compile(r"^(\w+)\{(.*)\} (\S+)$", re.MULTILINE)
LABEL = re.compile(r'(\w+)="([^"]*)"')


@dataclass(frozen=True)
class Video:
    """One finished video: its frames `(n, height, width, 3)` before H.264, and its file's digest."""

    job: str
    frames: Clip
    digest: str
    answer: Mapping[str, Any]


@dataclass(frozen=True)
class Studio:
    """A running server on `device`, and the folder of its raw frames."""

    server: Server
    raw: Path
    device: str

    def make(self, model: str, prompt: str, image: Clip | None = None, **options: object) -> Video:
        """Return the video of a request; raise `RuntimeError` if the server says anything else."""
        with Client(self.server.port) as client:
            status, said = client.post(serving.request(model, _input(prompt, image), **_more(options)))
            if status != 200:
                raise RuntimeError(f"{model} was answered with {status}: {said.decode()[:300]}")
            answer = json.loads(said)
            if answer["status"] != "completed":
                raise RuntimeError(f"the job of {model} ended as {answer['status']}: {answer['error']}")
            return self._video(client, answer)

    def try_to_make(self, model: str, prompt: str, background: bool = False, **options: object) -> Mapping[str, Any]:
        """Return the answer of a request that may fail: a response, or an error."""
        with Client(self.server.port) as client:
            more = {**_more(options), "background": background}
            _, said = client.post(serving.request(model, prompt, **more))
            answer: dict[str, Any] = json.loads(said)
            return answer

    def begin(self, model: str, prompt: str, **options: object) -> str:
        """Return the id of a response that is queued."""
        answer = self.try_to_make(model, prompt, background=True, **options)
        return str(answer["id"])

    def ask(self, path: str, method: str = "GET") -> dict[str, Any]:
        with Client(self.server.port) as client:
            status, said = client.get(path) if method == "GET" else client.send(method, path)
            if status != 200:
                raise RuntimeError(f"{method} {path} was answered with {status}: {said.decode()[:300]}")
            found: dict[str, Any] = json.loads(said)
            return found

    def until(self, response: str, steps: int | None = None) -> dict[str, Any]:
        """Return a response once it has done `steps`, or has ended."""
        deadline = time.monotonic() + PATIENCE_SECONDS
        while time.monotonic() < deadline:
            now = self.ask(f"/v1/responses/{response}")
            ended = now["status"] not in ("queued", "in_progress")
            if ended or (steps is not None and (now.get("steps_done") or 0) >= steps):
                return now
            time.sleep(0.005)
        raise RuntimeError(f"{response} did not end in {PATIENCE_SECONDS:g} s")

    def measured(self, job: str) -> dict[str, int] | None:
        """Return what the engine's card held after `job`; None on a CPU."""
        if self.device == "cpu":
            return None
        path = self.raw / f"{job}.json"
        deadline = time.monotonic() + 2.0
        while not path.is_file() and time.monotonic() < deadline:
            time.sleep(0.01)  # it is written once the answer is on its way
        found: dict[str, int] = json.loads(path.read_bytes())
        return found

    def metrics(self, name: str, **labels: str) -> dict[str, float]:
        """Return the values of a metric by model, for these other labels."""
        with Client(self.server.port) as client:
            _, said = client.get("/metrics")
        found: dict[str, float] = {}
        for metric, words, value in METRIC.findall(said.decode()):
            known = dict(LABEL.findall(words))
            if metric == name and labels.items() <= known.items():
                found[known["model"]] = found.get(known["model"], 0.0) + float(value)
        return found

    def total(self, name: str) -> float:
        """Return a metric's sum over all models."""
        return sum(self.metrics(name).values())

    def planned(self) -> float:
        """Return the bytes of weights that the engine says it holds on its device, each part once.

        Of several models, the one with most has every part that others share.
        """
        owned = self.metrics("framegate_weights_bytes", held="owned")
        shared = self.metrics("framegate_weights_bytes", held="shared")
        return sum(owned.values()) + max(shared.values())

    def row(self, job: str, columns: str) -> tuple[Any, ...]:
        """Return columns of a job in the store."""
        import sqlite3

        with sqlite3.connect(f"file:{self.server.data / 'jobs.sqlite'}?mode=ro", uri=True) as db:
            found: tuple[Any, ...] = db.execute(f"SELECT {columns} FROM jobs WHERE id = ?", (job,)).fetchone()
            return found

    def log(self) -> str:
        return (self.server.data / "server.log").read_text(errors="replace")

    def _video(self, client: Client, answer: dict[str, Any]) -> Video:
        job = answer["id"].removeprefix("resp_")
        part = answer["output"][0]["content"][0]
        _, file = client.get(part.get("video_url") or part["image_url"])
        frames = np.load(self.raw / f"{job}.npy")
        return Video(job, frames, hashlib.sha256(file).hexdigest(), answer)


@contextmanager
def studio(raw: Path, models: str, device: str, **settings: object) -> Iterator[Studio]:
    """Run a server of `models` on `device`; its raw frames go to `raw`."""
    raw.mkdir(parents=True, exist_ok=True)
    os.environ[FOLDER] = str(raw)
    plugins = ":".join(map(str, WITH))
    with serving.server(models, device, plugins=plugins, workers=1, threads=64, **settings) as server:
        yield Studio(server, raw, device)


def psnr(one: Clip, other: Clip) -> float:
    """Return the peak signal-to-noise ratio in decibels, a finite number, as JSON needs."""
    return min(IDENTICAL, measure.psnr(one, other))


def largest(one: Clip, other: Clip) -> int:
    """Return the largest difference of a value, in levels."""
    return int(np.abs(one.astype(int) - other.astype(int)).max())


def _more(options: Mapping[str, object]) -> dict[str, Any]:
    return {"seed": SEED, "provider_options": {"video": options}}


def _input(prompt: str, image: Clip | None) -> Any:
    if image is None:
        return prompt
    data = base64.b64encode(cv2.imencode(".png", image[..., ::-1])[1].tobytes()).decode()
    parts = [
        {"type": "input_image", "image_url": f"data:image/png;base64,{data}"},
        {"type": "input_text", "text": prompt},
    ]
    return [{"role": "user", "content": parts}]
