"""What an engine frees goes back to the machine, unless somebody has said otherwise."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from router.engine.heap import giving_back
from router.engine.openmp import waiting

# of blocks of 2 MB all but the last are freed: with a threshold that moves they stay below it, on the heap
FREES = """
import ctypes
from pathlib import Path

libc = ctypes.CDLL(None)
libc.malloc.restype, libc.malloc.argtypes = ctypes.c_void_p, [ctypes.c_size_t]
libc.free.argtypes, libc.memset.argtypes = [ctypes.c_void_p], [ctypes.c_void_p, ctypes.c_int, ctypes.c_size_t]

def resident():
    return int(Path("/proc/self/statm").read_text().split()[1]) * 4096

libc.free(libc.malloc(30 * 2**20))  # which moves it
before = resident()
blocks = [libc.malloc(2 * 2**20) for _ in range(100)]
for block in blocks:
    libc.memset(block, 1, 2 * 2**20)
full = resident()
for block in blocks[:-1]:
    libc.free(block)
print(full - before, resident() - before)
"""


def test_a_threshold_is_set_where_nobody_has_said_anything() -> None:
    assert giving_back({"HOME": "/"}) == {"MALLOC_MMAP_THRESHOLD_": "1048576"}
    assert giving_back({"GLIBC_TUNABLES": "glibc.malloc.check=1"}) == {"MALLOC_MMAP_THRESHOLD_": "1048576"}


@pytest.mark.parametrize(
    "environ",
    [{"MALLOC_MMAP_THRESHOLD_": "5"}, {"GLIBC_TUNABLES": "glibc.malloc.check=1:glibc.malloc.mmap_threshold=5"}],
)
def test_who_has_said_how_memory_is_kept_is_heeded(environ: dict[str, str]) -> None:
    assert giving_back(environ) == {}


def test_an_engine_is_started_so() -> None:
    from router.cli.processes import _engine
    from router.settings import Settings

    environ = _engine("cpu", Settings()).environ

    assert environ == {**waiting(os.environ), **giving_back(os.environ)}


@pytest.mark.slow
def test_what_is_freed_goes_back(tmp_path: object) -> None:
    """Against the same without: where that gives back as well (musl), there is nothing to set."""
    own = {name: value for name, value in os.environ.items() if not name.startswith(("MALLOC_", "GLIBC_"))}

    def freed(environ: dict[str, str]) -> float:
        run = subprocess.run([sys.executable, "-c", FREES], env=environ, capture_output=True, text=True, check=True)
        full, left = map(int, run.stdout.split())
        return left / full

    assert freed({**own, **giving_back(own)}) < 0.2
    if "CS_GNU_LIBC_VERSION" in os.confstr_names:
        assert freed(own) > 0.8  # else this test shows nothing
