"""Seconds that `/healthz` takes; `python -m bench.tools.health PORT` measures in a process of its own."""

from __future__ import annotations

import json
import select
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager

from bench.tools import server

LOOK_SECONDS = 0.05


def look(client: server.Client) -> float:
    """Return how many seconds one request took."""
    started = time.perf_counter()
    status, _ = client.get("/healthz")
    if status != 200:
        sys.exit(f"/healthz answered {status}")
    return time.perf_counter() - started


@contextmanager
def watched(port: int) -> Iterator[list[float]]:
    """Ask until the block ends, in a process that does nothing else; its list then has the seconds."""
    seconds: list[float] = []
    command = (sys.executable, "-m", "bench.tools.health", str(port))
    with subprocess.Popen(command, cwd=server.ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        yield seconds
        said, _ = process.communicate()  # closes its input, which ends it
    seconds += json.loads(said)


def _until_told(port: int) -> list[float]:
    seconds = []
    with server.Client(port) as client:
        while not select.select([sys.stdin], [], [], LOOK_SECONDS)[0]:
            seconds.append(look(client))
    return seconds


if __name__ == "__main__":
    print(json.dumps(_until_told(int(sys.argv[1]))))
