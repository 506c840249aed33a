"""A server whose frames can be compared before H.264, and its metrics."""

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

import numpy as np
from numpy.typing import NDArray

from bench.plugins.raw_frames import FOLDER
from bench.tools.server import PLUGINS, Client, Server, data_url, message, query, request_body, serve
from nano import measure

Clip = NDArray[np.uint8]
WITH = (PLUGINS / "raw_frames.py", PLUGINS / "probe.py")
SEED = 7
IDENTICAL = 99.0  # dB in studio of an infinite ratio
PATIENCE_SECONDS = 120.0
METRIC = re.compile(r"^(\w+)\{(.*)\} (\S+)$", re.MULTILINE)
LABEL = re.compile(r'(\w+)="([^"]*)"')


@dataclass(frozen=True)
class Video:
    """A finished video: frames `(n, height, width, 3)` before H.264, digest of its file."""

    job: str
    frames: Clip
    digest: str
    answer: Mapping[str, Any]


@dataclass(frozen=True)
class Studio:
    server: Server
    raw: Path
    device: str

    def make(self, model: str, prompt: str, image: Clip | None = None, **options: object) -> Video:
        """Return the video of a request; raise `RuntimeError` for another answer."""
        what = prompt if image is None else message(prompt, data_url(image[..., ::-1]))
        with Client(self.server.port) as client:
            status, body = client.post(request_body(model, what, **_more(options)))
            if status != 200:
                raise RuntimeError(f"{model} was answered with {status}: {body.decode()[:300]}")
            answer = json.loads(body)
            if answer["status"] != "completed":
                raise RuntimeError(f"the job of {model} ended as {answer['status']}: {answer['error']}")
            return self._video(client, answer)

    def try_to_make(self, model: str, prompt: str, background: bool = False, **options: object) -> Mapping[str, Any]:
        """Return the answer to a request that may fail: a response or an error."""
        with Client(self.server.port) as client:
            more = {**_more(options), "background": background}
            _, body = client.post(request_body(model, prompt, **more))
            return json.loads(body)

    def begin(self, model: str, prompt: str, **options: object) -> str:
        answer = self.try_to_make(model, prompt, background=True, **options)
        return str(answer["id"])

    def ask(self, path: str, method: str = "GET") -> dict[str, Any]:
        with Client(self.server.port) as client:
            status, body = client.send(method, path)
            if status != 200:
                raise RuntimeError(f"{method} {path} was answered with {status}: {body.decode()[:300]}")
            return json.loads(body)

    def until(self, response: str, steps: int | None = None) -> dict[str, Any]:
        """Return a response that has done `steps`, or has ended."""
        deadline = time.monotonic() + PATIENCE_SECONDS
        while time.monotonic() < deadline:
            now = self.ask(f"/v1/responses/{response}")
            ended = now["status"] not in ("queued", "in_progress")
            if ended or (steps is not None and (now.get("steps_done") or 0) >= steps):
                return now
            time.sleep(0.005)
        raise RuntimeError(f"{response} did not end in {PATIENCE_SECONDS:g} s")

    def measured(self, job: str) -> dict[str, int] | None:
        """Return the bytes on the engine's card after `job`; None on a CPU."""
        if self.device == "cpu":
            return None
        path = self.raw / f"{job}.json"
        deadline = time.monotonic() + 2.0
        while not path.is_file() and time.monotonic() < deadline:
            time.sleep(0.01)  # the file is written after the answer
        return json.loads(path.read_bytes())

    def metrics(self, name: str, **labels: str) -> dict[str, float]:
        """Return the values of a metric with these labels, by model."""
        with Client(self.server.port) as client:
            _, page = client.get("/metrics")
        found: dict[str, float] = {}
        for metric, words, value in METRIC.findall(page.decode()):
            known = dict(LABEL.findall(words))
            if metric == name and labels.items() <= known.items():
                found[known["model"]] = found.get(known["model"], 0.0) + float(value)
        return found

    def total(self, name: str) -> float:
        return sum(self.metrics(name).values())

    def planned(self) -> float:
        """Return the planned bytes of weights on the engine's device, each part once."""
        # the model with the most shared bytes has every part that others share
        owned = self.metrics("framegate_weights_bytes", held="owned")
        shared = self.metrics("framegate_weights_bytes", held="shared")
        return sum(owned.values()) + max(shared.values())

    def row(self, job: str, columns: str) -> tuple[Any, ...]:
        return query(self.server.data, f"SELECT {columns} FROM jobs WHERE id = ?", job)[0]

    def log(self) -> str:
        return (self.server.data / "server.log").read_text(errors="replace")

    def _video(self, client: Client, answer: dict[str, Any]) -> Video:
        job = answer["id"].removeprefix("resp_")
        part = answer["output"][0]["content"][0]
        _, file = client.get(part.get("video_url") or part["image_url"])
        frames = np.load(self.raw / f"{job}.npy")
        return Video(job, frames, hashlib.sha256(file).hexdigest(), answer)


@contextmanager
def open_studio(raw: Path, models: str, device: str, **settings: object) -> Iterator[Studio]:
    """Run a server of `models` on `device`; its plugin writes raw frames to `raw`."""
    raw.mkdir(parents=True, exist_ok=True)
    os.environ[FOLDER] = str(raw)
    plugins = ":".join(map(str, WITH))
    with serve(models, device, plugins=plugins, workers=1, threads=64, **settings) as server:
        yield Studio(server, raw, device)


def psnr(one: Clip, other: Clip) -> float:
    """Return the peak signal-to-noise ratio in decibels, a finite number for JSON."""
    return min(IDENTICAL, measure.psnr(one, other))


def largest(one: Clip, other: Clip) -> int:
    """Return the largest difference of a pixel's value, 0 to 255."""
    return int(np.abs(one.astype(int) - other.astype(int)).max())


def _more(options: Mapping[str, object]) -> dict[str, Any]:
    return {"seed": SEED, "provider_options": {"video": options}}
