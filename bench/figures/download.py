"""The downloader beside `huggingface_hub.snapshot_download`: speed, resume after a kill, and wrong bytes."""

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from bench.tools import server
from bench.tools.hub import REPO, Hub
from bench.tools.table import Figure, Row

SHARDS, SHARD = 4, 64 * 2**20
ROUNDS = 3
STALL_LIMIT = 150  # seconds
THEIRS = f"from huggingface_hub import snapshot_download; snapshot_download({REPO!r})"
TOOLS = {"ours": ("-m", "router.catalog.download", str(os.getpid()), REPO), "snapshot_download": ("-c", THEIRS)}


def measure() -> Figure:
    seconds: dict[str, list[float]] = {tool: [] for tool in TOOLS}
    for _ in range(ROUNDS):  # interleaved, so that the machine's other work hits both
        for tool in TOOLS:
            seconds[tool].append(_whole(tool))
    rows = [Row(f"{tool}: {SHARDS} shards of 64 MiB", min(taken), "s") for tool, taken in seconds.items()]
    for tool in TOOLS:
        rows.append(Row(f"{tool}: sent again after a kill at half of each shard", _sent_again(tool) / 2**20, "MiB"))
        rows.append(Row(f"{tool}: sent by two processes at once, of 256 MiB", _two(tool) / 2**20, "MiB"))
        rows.append(Row(f"{tool}: a server that stalls at half is given up after", _stalled(tool), "s"))
        rows.append(Row(f"{tool}: wrong bytes of the right length are refused (1 yes, 0 no)", _refuses(tool)))
    note = "loopback; a process each, its start included; best of three; HF_HUB_DOWNLOAD_TIMEOUT=1; no Xet"
    return Figure("download", "fetching a model: ours and the hub's own client", tuple(rows), (note,))


@contextmanager
def _place() -> Iterator[tuple[Hub, Path]]:
    hub = Hub(SHARDS, SHARD)
    try:
        with server.scratch_folder() as cache:
            yield hub, cache
    finally:
        hub.close()


def _start(tool: str, hub: Hub, cache: Path) -> subprocess.Popen[bytes]:
    environ = {
        **os.environ,
        "HF_HOME": str(cache),
        "HF_ENDPOINT": hub.url,
        "HF_HUB_DOWNLOAD_TIMEOUT": "1",
        "HF_HUB_DISABLE_PROGRESS_BARS": "1",
        "PYTHONPATH": str(server.ROOT),
    }
    quiet = subprocess.DEVNULL
    return subprocess.Popen([sys.executable, *TOOLS[tool]], env=environ, stdout=quiet, stderr=quiet)


def _whole(tool: str) -> float:
    with _place() as (hub, cache):
        started = time.perf_counter()
        assert _start(tool, hub, cache).wait() == 0
        return time.perf_counter() - started


def _sent_again(tool: str) -> int:
    """Kill a download at half of each shard; return the bytes sent twice."""
    with _place() as (hub, cache):
        hub.half = True
        child = _start(tool, hub, cache)
        while hub.sent < hub.size // 2:
            time.sleep(0.01)
        time.sleep(0.3)  # less than the time-out: both have written what came
        child.kill()
        child.wait()
        hub.half = False
        hub.go.set()
        assert _start(tool, hub, cache).wait() == 0
        return hub.sent - hub.size


def _two(tool: str) -> int:
    with _place() as (hub, cache):
        children = [_start(tool, hub, cache) for _ in range(2)]
        assert [child.wait() for child in children] == [0, 0]
        return hub.sent


def _stalled(tool: str) -> float:
    with _place() as (hub, cache):
        hub.half = True
        started = time.perf_counter()
        child = _start(tool, hub, cache)
        try:
            child.wait(STALL_LIMIT)
        except subprocess.TimeoutExpired:
            child.kill()
            child.wait()
        return time.perf_counter() - started


def _refuses(tool: str) -> float:
    with _place() as (hub, cache):
        hub.swapped = True
        return float(_start(tool, hub, cache).wait() != 0)
