"""The latency of `/healthz`; `python -m bench.tools.health PORT` measures in its own process."""

import json
import select
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from threading import Event, Thread

from bench.tools.server import ROOT, Client

LOOK_SECONDS = 0.05


def look(client: Client) -> float:
    started = time.perf_counter()
    status, _ = client.get("/healthz")
    if status != 200:
        sys.exit(f"/healthz answered {status}")
    return time.perf_counter() - started


@contextmanager
def watched(port: int) -> Iterator[list[float]]:
    """Poll in another process until the block ends; then fill the yielded list."""
    seconds: list[float] = []
    command = (sys.executable, "-m", "bench.tools.health", str(port))
    with subprocess.Popen(command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        yield seconds
        output, _ = process.communicate()  # closing its input ends the process
    seconds += json.loads(output)


@contextmanager
def repeated(act: Callable[[], object], seconds: float) -> Iterator[None]:
    """Call `act` every `seconds` on another thread while the block runs."""
    over = Event()

    def run() -> None:
        while not over.wait(seconds):
            act()

    thread = Thread(target=run)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()


def _until_input_ends(port: int) -> list[float]:
    seconds = []
    with Client(port) as client:
        while not select.select([sys.stdin], [], [], LOOK_SECONDS)[0]:
            seconds.append(look(client))
    return seconds


if __name__ == "__main__":
    print(json.dumps(_until_input_ends(int(sys.argv[1]))))
