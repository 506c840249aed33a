"""Devices of this machine: their names, their memory, the lock of an engine."""

import ctypes
import logging
import os
import re
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from router.errors import BootError
from router.runtime import locks
from router.runtime.files import make_folder, private

NAME = re.compile(r"cpu|cuda:\d{1,3}")
log = logging.getLogger(__name__)
MOST_NAME = 64  # bytes, with the last zero: the width of its column
LOCK_SECONDS = 10.0  # a killed engine may need this long to release its device


def devices(names: tuple[str, ...]) -> tuple[str, ...]:
    """Return the named devices; `all` or no name means every GPU, else the CPU."""
    for name in names:
        if name != "all" and not NAME.fullmatch(name):
            raise BootError(f"a device is cpu, cuda:0, cuda:1, ... or all, got {name!r}")
        if name.startswith("cuda:") and int(name.removeprefix("cuda:")) >= _gpus():
            raise BootError(f"{name} is not there: this machine shows {_gpus()} NVIDIA GPUs")
    if names and "all" not in names:
        return names
    return tuple(f"cuda:{n}" for n in range(_gpus())) or ("cpu",)


@contextmanager
def hold(data: Path, device: str, waiting: Callable[[str], None] = log.warning) -> Iterator[None]:
    """Hold `device` for the block; raise `BootError` if another engine keeps it.

    `waiting` gets a sentence before the wait for that engine's end.
    """
    with _opened(data / "devices" / f"{device.replace(':', '-')}.lock") as lock:
        if not locks.acquire(lock.fileno()):
            waiting(f"{device} is held by another engine that uses {data}: waiting {LOCK_SECONDS:g} s for its end")
            _wait(lock, data, device)
        yield


def _wait(lock: IO[str], data: Path, device: str) -> None:
    deadline = time.monotonic() + LOCK_SECONDS
    while not locks.acquire(lock.fileno()):
        if time.monotonic() > deadline:
            raise held(data, device)
        time.sleep(0.1)


def held(data: Path, device: str) -> BootError:
    """Return the error of an engine whose device another one has."""
    return BootError(
        f"{device} is held by another engine that uses {data}: stop it, or give this one its own data folder (--data)"
    )


def _opened(path: Path) -> IO[str]:
    try:
        make_folder(path.parent)
        return open(path, "a", opener=private)
    except OSError as error:
        raise BootError(f"{path} cannot be written: {error.strerror}; 'framegate doctor' says more") from error


def total_memory(device: str) -> int | None:
    """Return a device's bytes of memory without PyTorch; None if that is unknown."""
    if not device.startswith("cuda"):
        return _host_memory()
    size = ctypes.c_size_t()
    known = _ask_driver(device, lambda driver, card: driver.cuDeviceTotalMem_v2(ctypes.byref(size), card))
    return size.value if known else None


def kind(device: str) -> str:
    """Return the kind of a device: its GPU's name, or `cpu`."""
    if not device.startswith("cuda"):
        return "cpu"  # no finer: all engines of a data folder run on one machine, whose CPUs are the same
    name = ctypes.create_string_buffer(MOST_NAME)
    known = _ask_driver(device, lambda driver, card: driver.cuDeviceGetName(name, MOST_NAME, card))
    return name.value.decode("ascii", "replace") if known else "cuda"


def _ask_driver(device: str, question: Callable[[ctypes.CDLL, ctypes.c_int], int]) -> bool:
    """Ask CUDA's driver about a GPU, without PyTorch; return whether it knew."""
    card = ctypes.c_int()
    try:
        driver = ctypes.CDLL("libcuda.so.1")
        index = int(device.partition(":")[2] or 0)
        failed = driver.cuInit(0) or driver.cuDeviceGet(ctypes.byref(card), index) or question(driver, card)
    except (OSError, AttributeError):
        return False
    return not failed


def memory(device: str) -> int:
    """Return the bytes of memory of a device; those of `cpu` are the machine's."""
    if not device.startswith("cuda"):
        return _host_memory()
    import torch  # an engine of a GPU has it

    return int(torch.cuda.get_device_properties(device).total_memory)


def _host_memory() -> int:
    """Return the machine's memory, or the limit of its container."""
    machine = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    try:
        limit = int(Path("/sys/fs/cgroup/memory.max").read_text())
    except (OSError, ValueError):  # no such file, or "max"
        return machine
    return min(machine, limit)


def _gpus() -> int:
    """Count the NVIDIA GPUs that this process may use, without loading CUDA."""
    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    if visible is not None:
        return len([entry for entry in visible.split(",") if entry.strip() not in ("", "-1")])
    return len(list(Path("/dev").glob("nvidia[0-9]*"))) or int(Path("/dev/dxg").exists())  # the latter is WSL's
