"""Checks of memory, shared memory and open files."""

import os
import resource
from collections.abc import Iterator
from pathlib import Path

from router.doctor.finding import DoctorContext, Finding, ok, warn
from router.engine import device

LEAST_BYTES = 4 * 2**30  # an engine of PyTorch with a small model, the web half and the system
SHM_BYTES = 64 * 2**20
SPARE_FILES = 200  # of a web process, beside one for each thread: the store, logs, videos that are sent


def check(context: DoctorContext) -> Iterator[Finding]:
    yield ram(device.memory("cpu"))
    yield shared(Path("/dev/shm"))
    yield files(resource.getrlimit(resource.RLIMIT_NOFILE)[0], context.settings.threads)


def ram(total: int) -> Finding:
    """Check the memory in bytes, of the machine or the container's limit."""
    shown = f"{total / 2**30:.1f} GiB of memory"
    if total < LEAST_BYTES:
        return warn("memory", shown, f"an engine with PyTorch wants {LEAST_BYTES // 2**30} GiB at least")
    return ok("memory", shown)


def shared(folder: Path) -> Finding:
    """Check the shared memory, used by PyTorch's helper processes."""
    if not folder.is_dir() or not os.access(folder, os.W_OK):
        return warn("memory", f"{folder} is not there or not writable", "mount a tmpfs of 64 MB or more there")
    status = os.statvfs(folder)
    size = status.f_blocks * status.f_frsize
    if size < SHM_BYTES:
        advice = "give it 64 MB or more (docker run --shm-size 1g)"
        return warn("memory", f"{folder} has {size / 2**20:.0f} MiB", advice)
    return ok("memory", f"{folder} has {size / 2**30:.1f} GiB")


def files(limit: int, threads: int) -> Finding:
    """Check the limit of open files against the threads of a web process."""
    if limit == resource.RLIM_INFINITY:
        return ok("open files", "no limit")
    if limit < threads + SPARE_FILES:
        advice = f"raise it to {threads + SPARE_FILES} (ulimit -n, LimitNOFILE=), or lower FRAMEGATE_THREADS"
        return warn("open files", f"a process may have {limit} open, a web process has {threads} threads", advice)
    return ok("open files", f"a process may have {limit}")
