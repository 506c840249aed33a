"""The memory in use: by this process, and on its device."""

import ctypes
from pathlib import Path

from router.values import MemoryUse

STATUS, MACHINE, CONTAINER = Path("/proc/self/status"), Path("/proc/meminfo"), Path("/sys/fs/cgroup")
MOST_BUS_ID = 32  # bytes; `0000:01:00.0` takes 13


def memory_use(device: str) -> MemoryUse:
    """Return the memory in use now; None for what cannot be read."""
    return MemoryUse(resident_bytes(), _gpu_bytes(device) if device.startswith("cuda") else host_bytes())


def resident_bytes() -> int | None:
    """Return the resident memory of this process."""
    return _table(STATUS).get("VmRSS")


def own_bytes() -> int | None:
    """Return the resident memory of this process without mapped files."""
    # weights that are mapped become resident at their first use, which is no growth
    found = _table(STATUS)
    return found.get("RssAnon", found.get("VmRSS", 0)) + found.get("RssShmem", 0) or None


def host_bytes(container: Path = CONTAINER) -> int | None:
    """Return the memory in use of this machine, or of its container."""
    try:
        int((container / "memory.max").read_text())
        cache = dict(line.split() for line in (container / "memory.stat").read_text().splitlines())
        return int((container / "memory.current").read_text()) - int(cache["inactive_file"])
    except (OSError, ValueError, KeyError):  # no such file, or "max"
        found = _table(MACHINE)
    return found["MemTotal"] - found["MemAvailable"] if {"MemTotal", "MemAvailable"} <= found.keys() else None


def _table(path: Path) -> dict[str, int]:
    """Return the numbers of bytes in a table of the kernel."""
    try:
        lines = [line.split() for line in path.read_text().splitlines()]
    except OSError:
        return {}
    return {words[0].rstrip(":"): int(words[1]) * 1024 for words in lines if words[2:] == ["kB"]}


class _Memory(ctypes.Structure):
    _fields_ = (("total", ctypes.c_ulonglong), ("free", ctypes.c_ulonglong), ("used", ctypes.c_ulonglong))


def _gpu_bytes(device: str) -> int | None:
    """Return the bytes in use of a GPU, by all processes."""
    # by NVIDIA's management library: a call of CUDA would wait for the device
    card, handle, memory = ctypes.c_int(), ctypes.c_void_p(), _Memory()
    bus = ctypes.create_string_buffer(MOST_BUS_ID)
    try:
        cuda, nvml = ctypes.CDLL("libcuda.so.1"), ctypes.CDLL("libnvidia-ml.so.1")
        failed = (
            cuda.cuInit(0)
            or cuda.cuDeviceGet(ctypes.byref(card), int(device.partition(":")[2] or 0))
            or cuda.cuDeviceGetPCIBusId(bus, MOST_BUS_ID, card)
            or nvml.nvmlInit_v2()
            or nvml.nvmlDeviceGetHandleByPciBusId_v2(bus, ctypes.byref(handle))
            or nvml.nvmlDeviceGetMemoryInfo(handle, ctypes.byref(memory))
        )
    except (OSError, AttributeError):
        return None
    return None if failed else int(memory.used)
