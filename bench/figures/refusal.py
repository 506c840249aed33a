"""The time to refuse a mismatch while the engine uses every core."""

import json
import sys
import time
from pathlib import Path

from bench.tools.server import PLUGINS, Client, request_body, serve
from bench.tools.table import Figure, Row, spread

WARM_UP, REQUESTS = 50, 500
MODELS = """
models:
  burning: {backend: burning, modality: t2v}
  image: {backend: still, modality: i2v}
"""
MISMATCH = request_body("image", "text for a model that needs an image")


def measure() -> Figure:
    with serve(MODELS, plugins=PLUGINS / "burning.py") as server, server.connect() as client:
        idle = _refusals(client)
        job = _burn(client)
        busy = _busy_share(1.0)
        saturated = _refusals(client)
        if _status(client, job) != "in_progress":
            sys.exit("the job that was to keep the cores busy has ended")
    return Figure(
        "refusal",
        "text sent to an image-to-video model, refused by the gate",
        (
            *spread("engine takes every core", saturated, p50=15, p99=60),
            *spread("engine idle", idle),
            Row("share of the cores taken before the first refusal", busy * 100, "%"),
        ),
        (f"{REQUESTS} requests over one connection, after {WARM_UP} to warm up; client and server share the cores",),
    )


def _refusals(client: Client) -> list[float]:
    taken = []
    for _ in range(WARM_UP + REQUESTS):
        started = time.perf_counter()
        status, body = client.post(MISMATCH)
        taken.append(time.perf_counter() - started)
        if status != 400:
            sys.exit(f"a mismatch must be refused with 400, got {status}: {body.decode()}")
    return taken[WARM_UP:]


def _burn(client: Client) -> str:
    _, body = client.post(request_body("burning", background=True))
    job = f"/v1/responses/{json.loads(body)['id']}"
    while (status := _status(client, job)) == "queued":
        time.sleep(0.05)
    if status != "in_progress":
        sys.exit(f"the job that was to keep the cores busy is {status}")
    time.sleep(1)
    return job


def _status(client: Client, job: str) -> str:
    return json.loads(client.get(job)[1])["status"]


def _busy_share(seconds: float) -> float:
    before = _ticks()
    time.sleep(seconds)
    total, idle = (now - then for now, then in zip(_ticks(), before, strict=True))
    return 1 - idle / total


def _ticks() -> tuple[int, int]:
    fields = [int(field) for field in Path("/proc/stat").read_text().splitlines()[0].split()[1:9]]
    return sum(fields), fields[3] + fields[4]  # idle and iowait
