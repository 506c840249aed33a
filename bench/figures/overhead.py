"""The router's overhead: the time of a synchronous request without its backend's."""

import time
from collections.abc import Sequence
from typing import NamedTuple

from bench.tools.server import PLUGINS, Client, Server, query, scratch_folder, serve
from bench.tools.table import Figure, Row, quantile, spread

WARM_UP, REQUESTS = 20, 250
VIDEO = "defaults: {width: 64, height: 64, num_frames: 17, frames_per_second: 8, steps: 8, negative_prompt: ''}"
MODELS = """
models:
  timed: {{backend: timed, modality: t2v, options: {{timings: '{timings}'}}, {video}}}
  still: {{backend: still, modality: t2v, {video}}}
"""


class _Call(NamedTuple):
    sent: float  # by the store's wall clock
    answered: float

    @property
    def seconds(self) -> float:
        return self.answered - self.sent


def measure() -> Figure:
    with scratch_folder() as side:
        timings = side / "timings"
        models = MODELS.format(timings=timings, video=VIDEO)
        with serve(models, plugins=PLUGINS / "timed.py") as server, server.connect() as client:
            timed = _requests(client, "timed")
            still = _requests(client, "still")
            phases = _phases(server, still)
        own = [float(line) for line in timings.read_text().splitlines()][WARM_UP:]
    added = [call.seconds - seconds for call, seconds in zip(timed, own, strict=True)]
    return Figure(
        "overhead",
        "a synchronous POST /v1/responses, 64x64, 17 frames, 8 steps, one after the other",
        (
            *spread("added to the backend's own time", added, p50=30),
            Row("the backend's own time, p50", quantile(own, 0.5) * 1000, "ms"),
            *spread("still, from request to answer", [call.seconds for call in still], p50=40),
            *phases,
        ),
        (
            f"{REQUESTS} requests over one connection, after {WARM_UP} to warm up",
            "the backend's own time goes from the call of generate to the last pixel; this backend computes nothing, "
            "so it is the time of its reports, and of the encoder between frames",
        ),
    )


def _requests(client: Client, model: str) -> list[_Call]:
    calls = []
    for _ in range(WARM_UP + REQUESTS):
        sent = time.time()
        client.make(model)
        calls.append(_Call(sent, time.time()))
    return calls[WARM_UP:]


def _phases(server: Server, calls: Sequence[_Call]) -> tuple[Row, ...]:
    last = "SELECT created_at, started_at, finished_at FROM jobs ORDER BY seq DESC LIMIT ?"
    pairs = list(zip(calls, query(server.data, last, len(calls))[::-1], strict=True))
    phases = {
        "from request to queued": [created - call.sent for call, (created, _, _) in pairs],
        "from queued to claimed": [started - created for _, (created, started, _) in pairs],
        "from claimed to finished": [finished - started for _, (_, started, finished) in pairs],
        "from finished to answered": [call.answered - finished for call, (_, _, finished) in pairs],
    }
    return tuple(Row(f"still, {name}, median", quantile(seconds, 0.5) * 1000, "ms") for name, seconds in phases.items())
