"""A download in its own process, which can be killed at any point."""

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

from router.catalog.download.lock import DownloadProgress, fetching
from router.catalog.download.selection import MODEL, Selection
from router.errors import DiskFull, DownloadFailed

POLL_SECONDS = 0.2
STALL_SECONDS = 900.0


def snapshot(
    repo: str,
    revision: str | None,
    report: Callable[[int, int], None],
    stall_seconds: float = STALL_SECONDS,
    selection: Selection = MODEL,
) -> Path:
    """Fetch the selected files of a repository; return the folder.

    Without a selection these are weights (safetensors) and settings, never code.
    A download of another process is waited for, then completed. `report(done, total)` gets bytes several times a
    second; its exceptions stop the download. Raises `DiskFull`, or `DownloadFailed`, also after `stall_seconds`
    without progress.
    """
    report(0, 1)
    with _start(repo, revision, selection) as child:
        try:
            _watch(child, repo, report, stall_seconds)
            answer, _ = child.communicate()
        finally:
            child.kill()
    folder, size = _result(repo, answer, child.returncode)
    report(size, size)
    return folder


def _start(repo: str, revision: str | None, selection: Selection) -> subprocess.Popen[str]:
    # a process: a thread inside a blocking read of the hub could not be stopped
    command = [sys.executable, "-P", "-m", "router.catalog.download", str(os.getpid()), repo]
    command += [revision or "", ",".join(selection.without), *selection.names]
    environ = {**os.environ, "HF_HUB_DISABLE_PROGRESS_BARS": "1"}
    return subprocess.Popen(command, env=environ, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True)


def _watch(child: subprocess.Popen[str], repo: str, report: Callable[[int, int], None], stall_seconds: float) -> None:
    seen, since = DownloadProgress(0, 0, 0), time.monotonic()
    done, total = 0, 1
    while not _ended(child):
        now = fetching(repo) or seen
        if now != seen:
            seen, since = now, time.monotonic()
        elif time.monotonic() - since > stall_seconds:
            raise DownloadFailed(f"{repo} could not be fetched: nothing has come for {stall_seconds:.0f} s")
        done, total = max(done, now.done), now.total or total  # one that takes over begins by asking what there is
        report(done, total)


def _ended(child: subprocess.Popen[str]) -> bool:
    try:
        child.wait(POLL_SECONDS)
    except subprocess.TimeoutExpired:
        return False
    return True


def _result(repo: str, answer: str, status: int) -> tuple[Path, int]:
    try:
        result = json.loads(answer)
    except ValueError:
        raise DownloadFailed(f"{repo} could not be fetched: its process ended with {status}") from None
    if status == 0:
        return Path(result["folder"]), result["size"]
    raise (DiskFull if result["code"] == DiskFull.code else DownloadFailed)(result["message"])
